"""All broadcasts of an ingest, and what is remembered of those that are over."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from livestream.ingest.broadcast import Broadcast, BroadcastSettings, Phase, Site
from livestream.metrics import Metrics
from livestream.packaging.window import StreamState

RECALL_S = 1.0
"""A broadcast waits this long at most to learn where the one before it ended."""
DISCONTINUITY_S = 30_000
"""Numbers of discontinuities begin low, and still rise over the restarts of an ingest that forgot everything."""
REMEMBERED_S = 60.0

Recall = Callable[[str], "Deferred[StreamState | None]"]


@define(eq=False)
class Broadcasts:
    """
    Broadcasts by stream name. ``recall`` finds out how far a stream had come; ``seconds`` is the wall clock.

    ``forget`` is called with a stream when nothing of it needs to be kept any more.
    """

    settings: BroadcastSettings
    site: Site
    recall: Recall
    forget: Callable[[str], None]
    clock: IReactorTime
    seconds: Callable[[], float]
    metrics: Metrics
    _broadcasts: dict[str, Broadcast] = field(factory=dict, init=False)
    _ended: dict[str, IDelayedCall] = field(factory=dict, init=False)
    _epoch: int = field(default=0, init=False)

    log: ClassVar[Logger] = Logger()

    def enter(self, stream: str) -> Broadcast:
        """The broadcast of ``stream`` for a new publisher: the one that waits for its return, or else a new one."""
        broadcast = self._broadcasts.get(stream)
        if broadcast is not None:
            broadcast.returned()
            return broadcast
        self._epoch = max(self._epoch + 1, int(self.seconds() * 1000))
        broadcast = Broadcast(
            stream, self._epoch, self.settings, self.site, self.clock, self.seconds, self.metrics, self._over
        )
        self._broadcasts[stream] = broadcast
        self.metrics.broadcasts.set(len(self._broadcasts))
        self.log.info("{stream}: a broadcast begins", stream=stream)
        recalled = self.recall(stream)
        recalled.addTimeout(RECALL_S, self.clock)
        recalled.addErrback(lambda _: None)
        recalled.addCallback(self._open, broadcast)
        return broadcast

    def give_up(self, stream: str, epoch: int) -> bool:
        """
        Another ingest announces ``epoch`` of a stream: give it up if its life here is older, and return whether it is.

        One that is still finding out where the stream is will be newer than what it finds.
        """
        broadcast = self._broadcasts.get(stream)
        if broadcast is None or broadcast.phase is Phase.OPENING or broadcast.epoch >= epoch:
            return False
        broadcast.give_up()
        return True

    def live(self) -> list[Broadcast]:
        """The broadcasts that are not over."""
        return list(self._broadcasts.values())

    @property
    def unsettled(self) -> int:
        """Of how many not all that came is announced: they have a publisher, or something is still being encoded."""
        return sum(broadcast.phase is not Phase.ABSENT for broadcast in self._broadcasts.values())

    def stop(self) -> None:
        """The process ends."""
        for broadcast in self._broadcasts.values():
            broadcast.stop()
        for call in self._ended.values():
            call.cancel()

    def _open(self, state: StreamState | None, broadcast: Broadcast) -> None:
        if broadcast is not self._broadcasts.get(broadcast.stream):
            return
        now = int(self.seconds())
        segments = [segment for rendition in (state.renditions if state else ()) for segment in rendition.segments]
        remembered = self._ended.pop(broadcast.stream, None)
        if remembered is not None:
            remembered.cancel()
        msn = max((segment.msn + 1 for segment in segments), default=now // self.settings.segment_s)
        discontinuity = max((s.discontinuity + 1 for s in segments), default=now // DISCONTINUITY_S)
        if state is not None:
            broadcast.epoch = self._epoch = max(self._epoch, state.epoch + 1)
        broadcast.open(msn, discontinuity)

    def _over(self, broadcast: Broadcast) -> None:
        del self._broadcasts[broadcast.stream]
        self.metrics.broadcasts.set(len(self._broadcasts))
        self._ended[broadcast.stream] = self.clock.callLater(REMEMBERED_S, self._forget, broadcast.stream)

    def _forget(self, stream: str) -> None:
        del self._ended[stream]
        self.forget(stream)
