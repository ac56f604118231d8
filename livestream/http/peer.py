"""Whose connection it is, and whose request: what lasts of it is counted by address."""

from __future__ import annotations

from typing import Protocol

from attrs import define, field

from livestream.http.client_address import TrustedProxies
from livestream.net.address_limiter import AddressLimiter


class AddressCounts(Protocol):
    """What is needed of a site."""

    addresses: AddressLimiter
    proxies: TrustedProxies


@define(eq=False)
class Peer:
    """
    The other end of a connection: its address, and ``group``, what that is counted as.

    A connection of a proxy carries the requests of many viewers, and is not counted itself. One of those that lasts,
    because it waits or has become a push, is counted for its viewer.
    """

    site: AddressCounts
    host: str
    group: str = ""
    viewer_group: str = field(default="", init=False)

    @property
    def log_prefix(self) -> bytes:
        """How a line of the access log begins."""
        return f"{self.host or '-'} - - [".encode()

    def set_address(self, address: str) -> bool:
        """Take the address that a proxy gives (empty: it is its own); return whether that may have one more."""
        self.host = address or self.host
        group = self.site.addresses.connect(self.host)
        self.group = group or ""
        return group is not None

    def count_viewer(self, forwarded: bytes) -> bool:
        """
        Count a request that may last, with ``forwarded`` as its X-Forwarded-For; return whether there may be one.

        Nothing is counted for a peer that is no proxy of ours, which has been counted already.
        """
        viewer = self.site.proxies.viewer(self.host, forwarded.decode("latin-1"))
        if viewer == self.host:
            return True
        group = self.site.addresses.hold(viewer)
        self.viewer_group = group or ""
        return group is not None

    def release_viewer(self) -> None:
        """The request is answered."""
        group, self.viewer_group = self.viewer_group, ""
        self.site.addresses.release(group)

    def release(self) -> None:
        """The connection is lost."""
        self.release_viewer()
        group, self.group = self.group, ""
        self.site.addresses.release(group)
