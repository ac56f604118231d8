"""The tier above a node: asked over HTTP what it knows of streams, and played over RTMP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.bus.announcements import InvalidMessage, decode_document, decode_epochs
from livestream.cache.upstream.body_reader import UpstreamError
from livestream.cache.upstream.node import UpstreamNode
from livestream.cache.upstream.tier import UpstreamTier
from livestream.cluster.upstream_selection import UpstreamSelection
from livestream.model.names import taken_path
from livestream.model.segments import Announcement
from livestream.net.rtmp.client import RtmpUpstream
from livestream.push.relay import Holdings
from livestream.push.relay import Upstream as Player
from livestream.roles.node import LocalNode
from livestream.steering.nodes import Node

CONNECT_S = 2.0
ANSWER_S = 0.4
"""So long a stream that is silent stays silent for the sake of a node that does not answer."""


def fetching_from(selection: UpstreamSelection, node: LocalNode, reactor: Any) -> UpstreamTier:
    """The nodes of ``selection``, as objects and states are fetched from them by ``node``."""

    def connect(url: str) -> UpstreamNode:
        return UpstreamNode.at(url, reactor, node.members.others, node.credentials)

    return UpstreamTier(selection, connect, node.metrics, decode_document, reactor)


@define(eq=False)
class UpstreamStates:
    """What the tier above knows of streams, for a node that has missed announcements of them."""

    selection: UpstreamSelection
    upstreams: UpstreamTier
    _had_somebody: bool = field(default=False, init=False)

    log: ClassVar[Logger] = Logger()

    @property
    def has_cut_off_nodes(self) -> bool:
        """Whether a node of the tier above is cut off from the bus: what it announces is only to be had by asking."""
        return self.selection.has_cut_off_nodes

    def not_ready_reasons(self) -> list[str]:
        """Why there is nobody to ask yet; nothing once there was somebody: what came from there can be served."""
        self._had_somebody = self._had_somebody or bool(self.selection.every_url())
        return [] if self._had_somebody else [f"no {self.selection.role} is known yet"]

    def every_stream(self) -> Deferred[Sequence[Announcement]]:
        return Deferred.fromCoroutine(self.upstreams.states())

    def start_over(self) -> None:
        self.upstreams.start_over()

    def one_stream(self, stream: str) -> Deferred[Sequence[Announcement]]:
        return Deferred.fromCoroutine(self.upstreams.state(stream))

    def warn(self, stream: str, node: str, epoch: int) -> None:
        for each in self.selection.nodes():
            if each.id == node and each.http:
                warned = Deferred.fromCoroutine(self.upstreams.post(each.http, f"{taken_path(stream)}?epoch={epoch}"))
                warned.addErrback(self._unwarned, each)

    def _unwarned(self, failure: Failure, node: Node) -> None:
        """It is told again soon."""
        failure.trap(UpstreamError)
        self.log.debug("{id} could not be notified that a stream was claimed: {why}", id=node.id, why=failure.value)


@define(eq=False)
class UpstreamPlayers:
    """Where the tier above plays streams, for the relays of ``node``."""

    selection: UpstreamSelection
    upstreams: UpstreamTier
    node: LocalNode
    reactor: Any

    log: ClassVar[Logger] = Logger()

    def of(self, stream: str) -> list[RtmpUpstream]:
        """Where a stream can be played, in the order in which they are tried."""
        return [self._player(url) for url in self.selection.rtmp_urls(stream)]

    def holdings(self) -> Deferred[Holdings]:
        """Which streams each of its nodes has, of those that answer at once."""
        return Deferred.fromCoroutine(self._holdings())

    async def _holdings(self) -> Holdings:
        rtmp = self.selection.addresses()
        holdings: dict[Player, Mapping[str, int]] = {}
        for http, text in (await self.upstreams.each("/epochs", list(rtmp), ANSWER_S)).items():
            try:
                holdings[self._player(rtmp[http])] = decode_epochs(text)
            except InvalidMessage as error:
                self.log.warn("{url} sent an invalid list of its streams: {error}", url=http, error=error)
        return holdings

    def _player(self, url: str) -> RtmpUpstream:
        host, _, port = url.removeprefix("rtmp://").rpartition(":")
        endpoint = HostnameEndpoint(self.reactor, host.strip("[]"), int(port), timeout=CONNECT_S)
        return RtmpUpstream(url, endpoint, self.reactor, self.node.members.others, self.node.credentials)
