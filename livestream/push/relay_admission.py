"""
Who may play as a relay, which gets every frame at once and the clock with it: downstream nodes alone.

A relay's play has the key `RELAY` in the query of its stream's name. With ``cluster.secret`` the value is the signature
of a node (see `livestream.signing`); without one the address decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import ClassVar, Protocol

from attrs import define, field, frozen
from twisted.logger import Logger

from livestream.model.admission import Reason, Refusal
from livestream.net.rtmp.requests import UNIX, RtmpRequest
from livestream.signing import RELAY, UNSIGNED, Credentials, WrongSignature

LIMIT = "relay"
"""What a refusal is counted as."""
PLAY_AT_AN_EDGE = "this port takes publishers and relays of its cluster; play at an edge"
PLAY_WITHOUT = f"only relays of this cluster may play with {RELAY}=; viewers play without it"
WARN_S = 60.0
"""How often refusals of each kind are logged at most."""


class NotARelay(Exception):
    """The peer is no downstream node; the message tells the operator why, and what to do."""


class RelayRule(Protocol):
    """Which plays are those of relays."""

    def check(self, request: RtmpRequest) -> None:
        """
        Make sure that a request with `RELAY` in its query is a relay's.

        :raises NotARelay: it is not.
        """


@frozen
class SignedRelays:
    """Relays are the nodes that have the cluster's secret, which is in ``credentials`` (a `RelayRule`)."""

    credentials: Credentials

    def check(self, request: RtmpRequest) -> None:
        signature = request.query[RELAY]
        if signature == UNSIGNED:
            raise NotARelay("it is not signed; give that node the cluster.secret and this version")
        try:
            self.credentials.verify(signature)
        except WrongSignature as error:
            raise NotARelay(str(error)) from None


@frozen
class NearRelays:
    """Relays are on this machine, or in ``networks`` (a `RelayRule`)."""

    networks: tuple[IPv4Network | IPv6Network, ...]

    @classmethod
    def of(cls, networks: Iterable[str]) -> NearRelays:
        return cls(tuple(ip_network(network) for network in networks))

    def check(self, request: RtmpRequest) -> None:
        if request.address == UNIX:
            return
        address = ip_address(request.address)
        address = getattr(address, "ipv4_mapped", None) or address
        if not address.is_loopback and not any(address in network for network in self.networks):
            raise NotARelay("it is not in limits.relays_from; add its network, or give every node one cluster.secret")


@define(eq=False)
class RelayAdmission:
    """
    Tells relays from viewers at an RTMP port, by ``rule``; an ingest's port does not take viewers.

    ``seconds`` is the wall clock.
    """

    rule: RelayRule
    takes_viewers: bool
    seconds: Callable[[], float]
    _warned_at: dict[str, float] = field(factory=dict, init=False)

    log: ClassVar[Logger] = Logger()

    def is_relay(self, request: RtmpRequest) -> bool:
        """
        Whether a request is a relay's; else it is a viewer's.

        :raises Refusal: it claims to be a relay's and is not, or it is a viewer's where none are taken.
        """
        is_claimed = RELAY in request.query
        try:
            if is_claimed:
                self.rule.check(request)
            elif not self.takes_viewers:
                raise NotARelay("viewers play at an edge")
        except NotARelay as error:
            self._warn("relay" if is_claimed else "viewer", request.address, error)
            message = PLAY_WITHOUT if self.takes_viewers else PLAY_AT_AN_EDGE
            raise Refusal(Reason.NOT_ALLOWED, message, LIMIT) from None
        return is_claimed

    def _warn(self, kind: str, host: str, why: NotARelay) -> None:
        now = self.seconds()
        if abs(now - self._warned_at.get(kind, float("-inf"))) >= WARN_S:
            self._warned_at[kind] = now
            self.log.warn("{host} may not play here as a {kind}: {why}", host=host, kind=kind, why=why)
