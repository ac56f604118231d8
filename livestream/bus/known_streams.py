"""What a node knows of every stream: announced on the bus, and fetched where the bus may have missed something."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.bus.interface import Bus, TemporarilyUnavailable, Tier
from livestream.metrics import Metrics
from livestream.model.segments import Announcement, ObjectInfo, StreamEnded, StreamPosition
from livestream.packaging.window import Window

TICK_S = 0.25
FETCH_S = 1.0
POLL_S = 0.5
"""How often the upstream tier is polled for all streams while the bus is down; less often if decoding takes long."""
MAX_FETCHES = 2
"""
How many single streams are fetched per `TICK_S`. If hundreds lack something, the reason is a shared one, such as an
overloaded node, and a request per stream would keep it overloaded: one request for all changes replaces them.
"""
LOST_TARGETS = 2
"""
While the bus works, a stream that has been silent for fewer target durations is late rather than lost: polling for all
streams would load a busy node further, and delay the others.
"""
SLACK_S = 0.5
"""A stream that has been silent for this much longer than its target duration is fetched."""
MAX_HELD = 64
"""How many announcements of a new stream are held while its history is fetched."""
POLL_SPACING = 10
"""Polls are this many times as far apart as an answer takes to process: a tenth of a node's time at most."""
ANSWER_VALID_S = 5.0
"""How long an answer of the upstream tier stays valid."""
KEPT_S = 60.0
"""How long a stream is kept after its last announcement."""
STARTUP_S = 2.0
"""How long a node that has just started may be missing announcements."""

Changed = Callable[[str, Announcement | None], None]


class Upstream(Protocol):
    """The upstream tier, over HTTP. Every request may fail."""

    @property
    def has_cut_off_nodes(self) -> bool:
        """Whether some of its nodes are cut off from the bus."""

    def every_stream(self) -> Deferred[Sequence[Announcement]]:
        """What its nodes have announced of all streams since they were last asked."""

    def start_over(self) -> None:
        """Ask for everything again next time: something that was answered is not known here."""

    def one_stream(self, stream: str) -> Deferred[Sequence[Announcement]]:
        """What its nodes have announced of one stream."""

    def warn(self, stream: str, node: str, epoch: int) -> None:
        """Warn a node whose segments are refused here that the stream was claimed in this epoch."""


@define(eq=False)
class _Entry:
    """``missing_since`` is when something known to exist was first missing; ``None`` while nothing is."""

    window: Window
    updated_at: float
    fetched_at: float = float("-inf")
    missing_since: float | None = None


@define(eq=False)
class KnownStreams:
    """
    The windows of all streams that ``tier`` announces, each with ``length`` segments listed.

    Subscribers are called with every change, and with ``None`` when a stream is dropped.
    """

    bus: Bus
    tier: Tier
    upstream: Upstream | None
    length: int
    clock: IReactorTime
    metrics: Metrics
    _entries: dict[str, _Entry] = field(factory=dict, init=False)
    _held: dict[str, list[Announcement]] = field(factory=dict, init=False)
    _subscribers: list[Changed] = field(factory=list, init=False)
    _is_polling: bool = field(default=False, init=False)
    _poll_at: float = field(default=float("-inf"), init=False)
    _fetches: int = field(default=0, init=False)
    """How many single streams were fetched since the last tick."""
    _has_warned: bool = field(default=False, init=False)
    _answered_at: float = field(default=float("-inf"), init=False)
    _started_at: float = field(default=float("inf"), init=False)
    _ticker: IDelayedCall | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def start(self) -> None:
        """Listen to the bus, and check regularly for missed announcements."""
        self._started_at = self.clock.seconds()
        self.bus.listen(self.tier, self)
        self._ticker = self.clock.callLater(0, self._tick)

    def stop(self) -> None:
        if self._ticker is not None and self._ticker.active():
            self._ticker.cancel()

    def subscribe(self, changed: Changed) -> None:
        """Have ``changed(stream, announcement)`` called after every change."""
        self._subscribers.append(changed)

    def window(self, stream: str) -> Window | None:
        """A stream's window, or ``None`` when it is not known."""
        entry = self._entries.get(stream)
        return None if entry is None else entry.window

    def windows(self) -> list[Window]:
        """Every stream's window."""
        return [entry.window for entry in self._entries.values()]

    def not_ready_reasons(self) -> list[str]:
        """Why this node does not know what is live; empty if it does."""
        if self.bus.is_healthy or self.clock.seconds() - self._answered_at < ANSWER_VALID_S:
            return []
        return ["the bus is down, and the upstream tier does not answer"]

    @property
    def is_informed(self) -> bool:
        """Whether a stream that is unknown here can be taken not to exist."""
        has_caught_up = self.bus.is_healthy and self.bus.has_caught_up
        return has_caught_up or self.clock.seconds() - self._answered_at < ANSWER_VALID_S

    def is_on_air(self, stream: str) -> bool:
        """Whether a broadcast of the stream has begun and not ended, as far as this node knows."""
        entry = self._entries.get(stream)
        if entry is not None:
            return entry.window.is_on_air
        held = self._held.get(stream)
        return held is not None and not isinstance(held[-1], StreamEnded)

    def holder(self, stream: str) -> str:
        """The id of the node that has the stream's newest segments; empty if unknown."""
        entry = self._entries.get(stream)
        return "" if entry is None else entry.window.node

    def epoch(self, stream: str) -> int:
        """The number of the youngest epoch that was announced; 0 if there is none."""
        entry = self._entries.get(stream)
        return 0 if entry is None else entry.window.epoch

    def object_info(self, stream: str, rendition: str, name: str) -> ObjectInfo | None:
        """An object that can still be fetched; ``None`` if it is unknown."""
        entry = self._entries.get(stream)
        return None if entry is None else entry.window.object_info(rendition, name)

    def position(self, stream: str) -> StreamPosition:
        """How far the stream has come, as far as this node knows."""
        entry = self._entries.get(stream)
        return StreamPosition() if entry is None else entry.window.position()

    def promise(self, stream: str, epoch: int) -> StreamPosition:
        """
        Return how far the stream has come, and promise to refuse further numbers of epochs older than this one.

        :raises Superseded: a younger epoch is known.
        :raises TemporarilyUnavailable: this node has just started, and may have forgotten earlier promises.
        """
        if self.clock.seconds() - self._started_at < STARTUP_S or self.not_ready_reasons():
            raise TemporarilyUnavailable("this node has just started")
        entry = self._entry(stream)
        entry.updated_at = self.clock.seconds()
        return entry.window.promise(epoch)

    # Called by the bus

    def announced(self, announcement: Announcement) -> None:
        entry = self._entries.get(announcement.stream)
        if entry is None:
            self._add_new(announcement)
        else:
            self._apply(entry, [announcement])

    def recovered(self, announcements: Sequence[Announcement]) -> None:
        by_stream: defaultdict[str, list[Announcement]] = defaultdict(list)
        for announcement in announcements:
            by_stream[announcement.stream].append(announcement)
        for stream, of_stream in by_stream.items():
            if stream in self._held:
                self._held[stream].extend(of_stream)
            else:
                self._apply(self._entry(stream), of_stream)

    # Fetching

    def _add_new(self, announcement: Announcement) -> None:
        """Fetch the history of a stream that is new to this node."""
        stream = announcement.stream
        held = self._held.setdefault(stream, [])
        if len(held) < MAX_HELD:
            held.append(announcement)
        if len(held) == 1:
            fetched: Deferred[Any] = self.bus.fetch_state(self.tier, stream).addErrback(self._unanswered)
            fetched.addCallback(self._or_upstream, stream).addErrback(self._unanswered)
            fetched.addCallback(self._add_fetched, stream)

    def _or_upstream(
        self, known: Sequence[Announcement] | None, stream: str
    ) -> Sequence[Announcement] | Deferred[Sequence[Announcement]]:
        if known or self.upstream is None:
            return known or ()
        return self.upstream.one_stream(stream).addTimeout(FETCH_S, self.clock)

    def _add_fetched(self, known: Sequence[Announcement] | None, stream: str) -> None:
        held = self._held.pop(stream, [])
        self._apply(self._entry(stream), [*(known or ()), *held])

    def _entry(self, stream: str) -> _Entry:
        entry = self._entries.get(stream)
        if entry is None:
            entry = self._entries[stream] = _Entry(Window(stream, self.length), self.clock.seconds())
        return entry

    def _apply(self, entry: _Entry, announcements: Iterable[Announcement]) -> None:
        news = entry.window.apply(announcements)
        if news:
            entry.updated_at = self.clock.seconds()
        self._note_missing(entry)
        if entry.missing_since is not None:
            self._fetch(entry)
        self.metrics.bus_messages.labels("news" if news else "known").inc()
        for announcement in news:
            self._notify(entry.window.stream, announcement)

    def _note_missing(self, entry: _Entry) -> None:
        if not entry.window.is_incomplete:
            entry.missing_since = None
        elif entry.missing_since is None:
            entry.missing_since = self.clock.seconds()

    def _tick(self) -> None:
        self._ticker = self.clock.callLater(TICK_S, self._tick)
        self.metrics.bus_up.set(self.bus.is_healthy)
        if not self.bus.is_healthy or (self.upstream is not None and self.upstream.has_cut_off_nodes):
            self._poll()
        self._fetches = 0
        for entry in sorted(self._entries.values(), key=lambda entry: entry.fetched_at):
            self._check(entry)

    def _check(self, entry: _Entry) -> None:
        now, window, target_s = self.clock.seconds(), entry.window, max(entry.window.target_s, 1)
        if now - entry.updated_at > KEPT_S:
            self._drop(window.stream)
            return
        if entry.missing_since is not None and now - entry.missing_since > target_s:
            self._skip_missing(entry)
        is_silent = not window.is_ended and now - entry.updated_at > target_s + SLACK_S
        if (is_silent and self.bus.is_healthy) or entry.missing_since is not None:
            self._fetch(entry)
        if self.upstream is not None:
            for node, epoch in window.refused_writers:
                self.upstream.warn(window.stream, node, epoch)

    def _skip_missing(self, entry: _Entry) -> None:
        """No node has what is missing: list what follows without it."""
        listed = entry.window.skip_holes()
        self._note_missing(entry)
        self.log.warn(
            "{stream}: missing segments could not be recovered; playlists continue without them",
            stream=entry.window.stream,
        )
        for announcement in listed:
            self._notify(entry.window.stream, announcement)

    def _poll(self) -> None:
        now = self.clock.seconds()
        if self.upstream is not None and not self._is_polling and now >= self._poll_at:
            self._is_polling, self._poll_at = True, now + POLL_S
            self.upstream.every_stream().addCallbacks(self._on_poll_answer, self._unanswered).addBoth(self._polled)

    def _on_poll_answer(self, announcements: Sequence[Announcement]) -> None:
        self._has_warned = False
        self._answered_at = began_at = self.clock.seconds()
        try:
            self.recovered(announcements)
        except Exception:
            self.log.failure("failed to process an answer of the upstream tier")
            self._start_over()
        took_s = self.clock.seconds() - began_at
        self._poll_at = max(self._poll_at, began_at + POLL_SPACING * took_s)

    def _polled(self, _: object) -> None:
        self._is_polling = False

    def _unanswered(self, failure: Failure) -> None:
        if not self._has_warned:
            self._has_warned = True
            self.log.info("the upstream tier does not answer: {reason}", reason=failure.getErrorMessage())

    def _fetch(self, entry: _Entry) -> None:
        """Fetch a stream that is silent or incomplete, from the log on the bus and from the upstream tier."""
        now, stream = self.clock.seconds(), entry.window.stream
        if now - entry.fetched_at < FETCH_S:
            return
        if self._fetches == MAX_FETCHES:
            if entry.missing_since is not None or now - entry.updated_at > LOST_TARGETS * entry.window.target_s:
                self._poll()
            return
        self._fetches += 1
        entry.fetched_at = now
        self.bus.fetch_state(self.tier, stream).addCallbacks(self.recovered, self._unanswered)
        if self.upstream is not None:
            self.upstream.one_stream(stream).addCallbacks(self.recovered, self._unanswered)

    def _start_over(self) -> None:
        if self.upstream is not None:
            self.upstream.start_over()

    def _drop(self, stream: str) -> None:
        entry = self._entries.pop(stream)
        if not entry.window.is_ended:
            self._start_over()  # it may still exist upstream, and resume
        self._notify(stream, None)

    def _notify(self, stream: str, announcement: Announcement | None) -> None:
        """Notify every subscriber, even if one of them fails."""
        for changed in self._subscribers:
            try:
                changed(stream, announcement)
            except Exception:
                self.log.failure("{stream}: a subscriber failed to process a change", stream=stream)
