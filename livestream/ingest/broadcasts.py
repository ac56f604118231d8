"""All broadcasts of an ingest, and what is remembered of those that are over."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from livestream.ingest.broadcast import Broadcast, BroadcastSettings, Phase, Site
from livestream.ingest.offers import Offers
from livestream.ingest.take import Takes
from livestream.ingest.writer import Writer
from livestream.metrics import Metrics
from livestream.model.segments import Announcement, PublisherChange, Superseded

REMEMBERED_S = 60.0
MOST_FENCES = 10_000
"""Of so many streams it is remembered in which epoch another ingest has taken them."""


@frozen
class Numbering:
    """
    What all writers of an ingest, ``node``, have in common: see `Takes` and `Offers`.

    ``leave`` tells the bus that a writer has no more, ``bus_answers`` says whether the bus is there, and
    ``publisher_changed`` tells the other ingests whether a stream's publisher is here.
    """

    node: str
    takes: Takes
    accept: Callable[[Announcement], Deferred[None]]
    leave: Callable[[str, int], None]
    show: Callable[[Announcement], object]
    bus_answers: Callable[[], bool]
    publisher_changed: Callable[[PublisherChange], None]


@define(eq=False)
class Broadcasts:
    """
    Broadcasts by stream name. ``seconds`` is the wall clock.

    ``forget`` is called with a stream when nothing of it needs to be kept any more, ``displaced`` when one that begins
    here had a publisher at another ingest until then.
    """

    settings: BroadcastSettings
    site: Site
    numbering: Numbering
    forget: Callable[[str], None]
    displaced: Callable[[str], None]
    clock: IReactorTime
    seconds: Callable[[], float]
    metrics: Metrics
    _broadcasts: dict[str, Broadcast] = field(factory=dict, init=False)
    _offers: dict[str, Offers] = field(factory=dict, init=False)
    _fences: dict[str, int] = field(factory=dict, init=False)
    _ended: dict[str, IDelayedCall] = field(factory=dict, init=False)
    _number: int = field(default=0, init=False)

    log: ClassVar[Logger] = Logger()

    def enter(self, stream: str) -> Broadcast:
        """The broadcast of ``stream`` for a new publisher: the one that waits for its return, or else a new one."""
        broadcast = self._broadcasts.get(stream)
        if broadcast is not None and not broadcast.is_given_up:
            broadcast.returned()
            return broadcast
        remembered = self._ended.pop(stream, None)
        if remembered is not None:
            remembered.cancel()
        self._number = self.numbering.takes.epoch(self._number)
        broadcast = Broadcast(
            stream,
            self._number,
            self.settings,
            self.site,
            self.clock,
            self.seconds,
            self.metrics,
            self._over,
            self._open_writer,
            self.displaced,
            self.numbering.publisher_changed,
        )
        self._broadcasts[stream] = broadcast
        self.metrics.broadcasts.set(len(self._broadcasts))
        self.log.info("{stream}: a broadcast begins", stream=stream)
        broadcast.writer.take(self._fences.get(stream, 0))
        return broadcast

    def fence(self, stream: str, epoch: int) -> bool:
        """
        Another ingest takes a stream: give no more numbers, and show all that were given, which it counts.

        Return whether its publisher was still here.

        :raises Superseded: the stream is ours in a younger epoch, or a younger one is known.
        """
        newest = max(self._newest(stream), self.numbering.takes.heard(stream).epoch)
        if newest >= epoch:
            raise Superseded(newest)
        self._fences.pop(stream, None)
        self._fences[stream] = epoch
        if len(self._fences) > MOST_FENCES:
            del self._fences[next(iter(self._fences))]
        broadcast = self._broadcasts.get(stream)
        was_live = broadcast is not None and broadcast.phase is Phase.LIVE
        if broadcast is not None and not broadcast.is_given_up:
            broadcast.give_up(epoch, shows=True)
        elif stream in self._offers:
            self._offers[stream].show_all()
        return was_live

    def give_up(self, stream: str, epoch: int) -> bool:
        """
        Another ingest announces ``epoch`` of a stream: give it up if it is ours in an older one; return whether it is.
        """
        broadcast = self._broadcasts.get(stream)
        if broadcast is None or broadcast.is_given_up or broadcast.writer.epoch >= epoch:
            return False
        broadcast.give_up(epoch, shows=False)
        return True

    def warn(self, stream: str, epoch: int) -> None:
        """Somebody has taken a stream in this epoch, and may go on with it or not."""
        broadcast = self._broadcasts.get(stream)
        if broadcast is not None:
            broadcast.writer.suspend(epoch)

    def live(self) -> list[Broadcast]:
        """The broadcasts that are not over."""
        return list(self._broadcasts.values())

    def epochs(self) -> dict[str, int]:
        """The streams that have their publisher here, each with the epoch that is its own, or may come to be."""
        return {
            stream: broadcast.writer.epoch
            for stream, broadcast in self._broadcasts.items()
            if broadcast.phase is Phase.LIVE and not broadcast.is_given_up
        }

    @property
    def unsettled(self) -> int:
        """
        Of how many streams not all that came is announced.

        They have a publisher, or something is still being encoded, or has no number yet, or the bus has not answered.
        """
        coming = {
            stream
            for stream, broadcast in self._broadcasts.items()
            if broadcast.phase is not Phase.ABSENT or broadcast.writer.has_waiting
        }
        return len(coming | {stream for stream, offers in self._offers.items() if offers.has_unshown})

    def stop(self) -> None:
        """The process ends."""
        for broadcast in self._broadcasts.values():
            broadcast.stop()
        for offers in self._offers.values():
            offers.stop()
        for call in self._ended.values():
            call.cancel()

    def _newest(self, stream: str) -> int:
        """The youngest epoch in which the stream is ours, or was taken by another."""
        broadcast = self._broadcasts.get(stream)
        return max(self._fences.get(stream, 0), 0 if broadcast is None else broadcast.writer.epoch)

    def _open_writer(self, broadcast: Broadcast) -> Writer:
        stream, numbering = broadcast.stream, self.numbering
        offers = self._offers.get(stream)
        if offers is None:
            offers = self._offers[stream] = Offers(numbering.accept, numbering.show, self.clock)
        return Writer(
            stream,
            numbering.node,
            self.settings.segment_s,
            numbering.takes,
            offers,
            numbering.leave,
            self.clock,
            self.seconds,
            numbering.bus_answers,
            broadcast,
        )

    def _over(self, broadcast: Broadcast) -> None:
        if self._broadcasts.get(broadcast.stream) is not broadcast:
            return
        del self._broadcasts[broadcast.stream]
        self.metrics.broadcasts.set(len(self._broadcasts))
        self._ended[broadcast.stream] = self.clock.callLater(REMEMBERED_S, self._forget, broadcast.stream)

    def _forget(self, stream: str) -> None:
        del self._ended[stream]
        self._offers.pop(stream).stop()
        self.forget(stream)
