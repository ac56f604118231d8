"""Whose request it is, where proxies of ours may stand between the viewer and a node."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from attrs import frozen

HOPS = 16
"""So many hops are followed back."""


@frozen
class Proxies:
    """The networks whose word about a viewer's address is believed."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[str]) -> Proxies:
        return cls(tuple(ip_network(network) for network in networks))

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
        numeric = _address(address)
        return numeric is not None and any(numeric in network for network in self.networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, as proxies write one: some add a port."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        numeric = ip_address(text)
    except ValueError:
        return None
    return getattr(numeric, "ipv4_mapped", None) or numeric
