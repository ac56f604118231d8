"""The tier above a node: its nodes, asked over HTTP and played over RTMP, and what they know of streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.bus.announcements import InvalidMessage, decode_document, decode_epochs
from livestream.cache.upstream.body_reader import UpstreamError
from livestream.cache.upstream.node import Upstream
from livestream.cache.upstream.tier import Upstreams
from livestream.cluster.upstream_selection import UpstreamSelection
from livestream.lifecycle.reload_hooks import renew_choice
from livestream.model.segments import Announcement
from livestream.net.rtmp.client import RtmpUpstream
from livestream.push.relay import Holdings, Relays
from livestream.push.relay import Upstream as Player
from livestream.roles.parts import Parts
from livestream.steering.nodes import Node

CONNECT_S = 2.0
ANSWER_S = 0.4
"""So long a stream that is silent stays silent for the sake of a node that does not answer."""


@define(eq=False)
class TierAbove:
    """The nodes that ``choice`` has, as the parts of a node use them."""

    parts: Parts
    choice: UpstreamSelection
    upstreams: Upstreams
    _had_somebody: bool = field(default=False, init=False)

    log: ClassVar[Logger] = Logger()

    @classmethod
    def of(cls, parts: Parts, role: str) -> TierAbove:
        """The nodes of ``role`` in the cluster, and those of the configuration."""
        fixed = getattr(parts.config, parts.config.role).upstreams
        membership, reactor = parts.cluster(), parts.reactor
        choice = UpstreamSelection(role, fixed, membership.nodes)
        renew_choice(parts.reloading, choice)

        def connect(url: str) -> Upstream:
            return Upstream.at(url, reactor, membership.others, parts.credentials)

        upstreams = Upstreams(choice, connect, parts.metrics, decode_document, reactor)
        return cls(parts, choice, upstreams)

    @property
    def has_cut_off_nodes(self) -> bool:
        """Whether a node of the tier above is cut off from the bus: what it announces is only to be had by asking."""
        return self.choice.has_cut_off_nodes

    def missing(self) -> list[str]:
        """Why there is nobody to ask yet; nothing once there was somebody: what came from there can be served."""
        self._had_somebody = self._had_somebody or bool(self.choice.every_url())
        return [] if self._had_somebody else [f"no {self.choice.role} has been heard of yet"]

    def relays(self, known: Callable[[str], int]) -> Relays:
        """What plays streams from there; ``known`` has a stream's epoch, as far as it is known here."""
        return Relays(self.players, self.holdings, known, self.parts.reactor, self.parts.metrics)

    def holdings(self) -> Deferred[Holdings]:
        """Which streams each of its nodes has, of those that answer at once."""
        return Deferred.fromCoroutine(self._holdings())

    async def _holdings(self) -> Holdings:
        rtmp = self.choice.addresses()
        holdings: dict[Player, Mapping[str, int]] = {}
        for http, text in (await self.upstreams.each("/epochs", list(rtmp), ANSWER_S)).items():
            try:
                holdings[self._player(rtmp[http])] = decode_epochs(text)
            except InvalidMessage as error:
                self.log.warn("{url} does not say which streams it has: {error}", url=http, error=error)
        return holdings

    def every_stream(self) -> Deferred[Sequence[Announcement]]:
        return Deferred.fromCoroutine(self.upstreams.states())

    def start_over(self) -> None:
        self.upstreams.start_over()

    def one_stream(self, stream: str) -> Deferred[Sequence[Announcement]]:
        return Deferred.fromCoroutine(self.upstreams.state(stream))

    def warn(self, stream: str, node: str, epoch: int) -> None:
        for each in self.choice.nodes():
            if each.id == node and each.http:
                warned = Deferred.fromCoroutine(self.upstreams.tell(each.http, f"/taken/{stream}?epoch={epoch}"))
                warned.addErrback(self._unwarned, each)

    def _unwarned(self, failure: Failure, node: Node) -> None:
        """It is told again soon."""
        failure.trap(UpstreamError)
        self.log.debug("{id} could not be told that a stream was taken: {why}", id=node.id, why=failure.value)

    def players(self, stream: str) -> list[RtmpUpstream]:
        """Where a stream can be played, in the order in which they are tried."""
        return [self._player(url) for url in self.choice.rtmp_urls(stream)]

    def _player(self, url: str) -> RtmpUpstream:
        host, _, port = url.removeprefix("rtmp://").rpartition(":")
        reactor = self.parts.reactor
        endpoint = HostnameEndpoint(reactor, host.strip("[]"), int(port), timeout=CONNECT_S)
        return RtmpUpstream(url, endpoint, reactor, self.parts.cluster().others, self.parts.credentials)
