"""All broadcasts of an ingest, and what is kept of those that have ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from livestream.ingest.broadcast import Broadcast, BroadcastPhase, ignore
from livestream.ingest.claims import Claims
from livestream.ingest.pending_announcements import PendingAnnouncements
from livestream.ingest.services import BroadcastServices, BroadcastSettings
from livestream.ingest.writer import Writer
from livestream.metrics import Metrics
from livestream.model.segments import Announcement, PublisherChange, Superseded

REMEMBERED_S = 60.0
MAX_FENCES = 10_000
"""For how many streams the epoch of another ingest's claim is remembered."""


@frozen
class WriterServices:
    """
    What all writers of an ingest, ``node``, share; see `Claims` and `PendingAnnouncements`.

    ``release`` tells the bus that a writer has finished, ``bus_answers`` returns whether the bus works, and
    ``publisher_changed`` tells the other ingests whether a stream's publisher is connected.
    """

    node: str
    claims: Claims
    accept: Callable[[Announcement], Deferred[None]]
    release: Callable[[str, int], None]
    commit: Callable[[Announcement], object]
    bus_answers: Callable[[], bool]
    publisher_changed: Callable[[PublisherChange], None]


@define(eq=False)
class Broadcasts:
    """
    Broadcasts by stream name. ``seconds`` is the wall clock.

    ``discard`` is called with a stream once nothing of it needs to be kept, ``displaced`` when a stream that begins
    here had a publisher at another ingest until then.
    """

    settings: BroadcastSettings
    services: BroadcastServices
    writer_services: WriterServices
    discard: Callable[[str], None]
    displaced: Callable[[str], None]
    clock: IReactorTime
    seconds: Callable[[], float]
    metrics: Metrics
    _broadcasts: dict[str, Broadcast] = field(factory=dict, init=False)
    _pending: dict[str, PendingAnnouncements] = field(factory=dict, init=False)
    _fences: dict[str, int] = field(factory=dict, init=False)
    _ended: dict[str, IDelayedCall] = field(factory=dict, init=False)
    _number: int = field(default=0, init=False)

    log: ClassVar[Logger] = Logger()

    def resume_or_start(self, stream: str, warn: Callable[[str], None] = ignore) -> Broadcast:
        """
        The broadcast of ``stream`` for a new publisher: an existing one is resumed, or a new one started.

        ``warn`` tells the publisher what of its media is not served.
        """
        broadcast = self._broadcasts.get(stream)
        if broadcast is not None and not broadcast.is_given_up:
            broadcast.arrived(warn)
            broadcast.returned()
            return broadcast
        broadcast = self._start(stream)
        broadcast.arrived(warn)
        broadcast.writer.claim(self._fences.get(stream, 0))
        return broadcast

    def _start(self, stream: str) -> Broadcast:
        remembered = self._ended.pop(stream, None)
        if remembered is not None:
            remembered.cancel()
        self._number = self.writer_services.claims.epoch(self._number)
        broadcast = Broadcast(
            stream,
            self._number,
            self.settings,
            self.services,
            self.clock,
            self.seconds,
            self.metrics,
            self._on_ended,
            self._open_writer,
            self.displaced,
            self.writer_services.publisher_changed,
        )
        self._broadcasts[stream] = broadcast
        self.metrics.broadcasts.set(len(self._broadcasts))
        self.log.info("{stream}: broadcast started", stream=stream)
        return broadcast

    def fence(self, stream: str, epoch: int) -> bool:
        """
        Stop numbering a stream that another ingest claims, and commit all numbered segments, which that one counts.

        Return whether its publisher was still connected here.

        :raises Superseded: a younger epoch is known, of this ingest or another.
        """
        newest = max(self._newest(stream), self.writer_services.claims.known_position(stream).epoch)
        if newest >= epoch:
            raise Superseded(newest)
        self._fences.pop(stream, None)
        self._fences[stream] = epoch
        if len(self._fences) > MAX_FENCES:
            del self._fences[next(iter(self._fences))]
        broadcast = self._broadcasts.get(stream)
        was_live = broadcast is not None and broadcast.has_publisher
        if broadcast is not None and not broadcast.is_given_up:
            broadcast.give_up(epoch, commit=True)
        elif stream in self._pending:
            self._pending[stream].commit_all()
        return was_live

    def give_up(self, stream: str, epoch: int) -> bool:
        """Give up a stream that another ingest announces in ``epoch``; return whether it was here, in an older one."""
        broadcast = self._broadcasts.get(stream)
        if broadcast is None or broadcast.is_given_up or broadcast.writer.epoch >= epoch:
            return False
        broadcast.give_up(epoch, commit=False)
        return True

    def suspend(self, stream: str, epoch: int) -> None:
        """Suspend numbering a stream that was claimed in this epoch, by a node that may or may not continue it."""
        broadcast = self._broadcasts.get(stream)
        if broadcast is not None:
            broadcast.writer.suspend(epoch)

    def live(self) -> list[Broadcast]:
        """The broadcasts that have not ended."""
        return list(self._broadcasts.values())

    def epochs(self) -> dict[str, int]:
        """The streams whose publishers are connected here, each with its current or attempted epoch."""
        return {
            stream: broadcast.writer.epoch
            for stream, broadcast in self._broadcasts.items()
            if broadcast.has_publisher and not broadcast.is_given_up
        }

    @property
    def unsettled(self) -> int:
        """
        For how many streams not everything received has been announced.

        They have a publisher, or are being transcoded, or have segments that are not numbered or not committed yet.
        """
        coming = {
            stream
            for stream, broadcast in self._broadcasts.items()
            if broadcast.phase is not BroadcastPhase.ABSENT or broadcast.writer.has_waiting
        }
        return len(coming | {stream for stream, pending in self._pending.items() if pending.has_uncommitted})

    def stop(self) -> None:
        """The process ends."""
        for broadcast in self._broadcasts.values():
            broadcast.stop()
        for pending in self._pending.values():
            pending.stop()
        for call in self._ended.values():
            call.cancel()

    def _newest(self, stream: str) -> int:
        """The youngest epoch in which the stream was claimed by this ingest or another."""
        broadcast = self._broadcasts.get(stream)
        return max(self._fences.get(stream, 0), 0 if broadcast is None else broadcast.writer.epoch)

    def _open_writer(self, broadcast: Broadcast) -> Writer:
        stream, writer_services = broadcast.stream, self.writer_services
        pending = self._pending.get(stream)
        if pending is None:
            pending = self._pending[stream] = PendingAnnouncements(
                writer_services.accept, writer_services.commit, self.clock
            )
        return Writer(
            stream,
            writer_services.node,
            self.settings.segment_s,
            writer_services.claims,
            pending,
            writer_services.release,
            self.clock,
            self.seconds,
            writer_services.bus_answers,
            broadcast,
        )

    def _on_ended(self, broadcast: Broadcast) -> None:
        if self._broadcasts.get(broadcast.stream) is not broadcast:
            return
        del self._broadcasts[broadcast.stream]
        self.metrics.broadcasts.set(len(self._broadcasts))
        self._ended[broadcast.stream] = self.clock.callLater(REMEMBERED_S, self._discard, broadcast.stream)

    def _discard(self, stream: str) -> None:
        del self._ended[stream]
        self._pending.pop(stream).stop()
        self.discard(stream)
