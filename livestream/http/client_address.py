"""Whose request it is, where proxies of ours may stand between the viewer and a node."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from attrs import frozen

from livestream.net.address_limits import Networks, parse_address

HOPS = 16
"""So many hops are followed back."""


@frozen
class TrustedProxies:
    """The networks of proxies whose X-Forwarded-For is believed."""

    networks: Networks = Networks()

    @classmethod
    def of(cls, networks: Iterable[str]) -> TrustedProxies:
        return cls(Networks.of(networks))

    def viewer(self, peer: str, forwarded: str) -> str:
        """
        The address of whoever asks: ``peer`` itself, or what trusted proxies, and only they, say of it.

        ``forwarded`` is the X-Forwarded-For, to which each hop adds the address that it sees. Anybody can send one, so
        it is read from its end, and what stands before the first hop that is not trusted says nothing.
        """
        if not self.networks:
            return peer
        address = peer
        for hop in reversed(forwarded.rsplit(",", HOPS)[-HOPS:]):
            if not self._trusts(address):
                break
            found = _address(hop)
            if found is None:
                break
            address = str(found)
        return address

    def _trusts(self, address: str) -> bool:
        return self.networks.has(_address(address))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, as proxies write one: some add a port."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return parse_address(text)
