"""The tier above a node: its nodes, asked over HTTP and played over RTMP, and what they know of streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.bus.announcements import decode_document
from livestream.cache.reader import UpstreamError
from livestream.cache.upstream import Upstream
from livestream.cache.upstreams import Upstreams
from livestream.delivery.relay import Relays
from livestream.model import Announcement
from livestream.net.rtmp_play import RtmpUpstream
from livestream.roles.choice import Choice
from livestream.roles.parts import Parts
from livestream.roles.renewing import renew_choice
from livestream.steering.nodes import Node

CONNECT_S = 2.0


@define(eq=False)
class TierAbove:
    """The nodes that ``choice`` has, as the parts of a node use them."""

    parts: Parts
    choice: Choice
    upstreams: Upstreams
    _had_somebody: bool = field(default=False, init=False)

    log: ClassVar[Logger] = Logger()

    @classmethod
    def of(cls, parts: Parts, role: str) -> TierAbove:
        """The nodes of ``role`` in the cluster, and those of the configuration."""
        fixed = getattr(parts.config, parts.config.role).upstreams
        presence, reactor = parts.cluster(), parts.reactor
        choice = Choice(role, fixed, presence.nodes)
        renew_choice(parts.reloading, choice)

        def connect(url: str) -> Upstream:
            return Upstream.at(url, reactor, presence.others)

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

    def relays(self) -> Relays:
        """What plays streams from there."""
        return Relays(self.players, self.parts.reactor, self.parts.metrics)

    def every_stream(self) -> Deferred[Sequence[Announcement]]:
        return Deferred.fromCoroutine(self.upstreams.states())

    def start_over(self) -> None:
        self.upstreams.start_over()

    def one_stream(self, stream: str) -> Deferred[Sequence[Announcement]]:
        return Deferred.fromCoroutine(self.upstreams.state(stream))

    def warn(self, stream: str, node: str, epoch: int) -> None:
        path, headers = f"/taken/{stream}?epoch={epoch}", self.parts.credentials.headers()
        for each in self.choice.nodes():
            if each.id == node and each.http:
                warned = Deferred.fromCoroutine(self.upstreams.tell(each.http, path, headers))
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
        return RtmpUpstream(url, endpoint, reactor, self.parts.cluster().others)
