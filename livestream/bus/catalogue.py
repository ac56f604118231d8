"""What a node knows of every stream: heard on the bus, and asked for where the bus may have missed something."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.bus.memory import Bus, Tier
from livestream.metrics import Metrics
from livestream.model import Announcement, ObjectInfo, SegmentAnnounced
from livestream.packaging.window import Change, StreamState, Window

LOOK_S = 0.5
ASK_S = 1.0
SLACK_S = 0.5
"""A stream that has been silent for so much longer than its target duration is asked for."""
MOST_WAITING = 64
"""So many announcements of a stream wait for what was before them."""
INFORMED_S = 5.0
"""An answer of the tier above is good for so long."""
KEPT_S = 60.0
"""A stream that has ended, or of which nothing is heard, is known for so long."""

Changed = Callable[[str, Announcement | None], None]


class StateSource(Protocol):
    """The tier above, asked over HTTP. Both answers may fail, and have what is older first."""

    @property
    def has_cut_off_nodes(self) -> bool:
        """Whether the bus does not carry what some of its nodes announce."""

    def states(self) -> Deferred[Sequence[StreamState]]:
        """The state of every stream."""

    def state(self, stream: str) -> Deferred[Sequence[StreamState]]:
        """The state of one stream, from each node that knows it."""


@define(eq=False)
class _Entry:
    """``waiting`` has what cannot be listed before something else is known, since ``waiting_since``."""

    window: Window
    heard_at: float
    asked_at: float = float("-inf")
    waiting: deque[Announcement] = field(factory=lambda: deque(maxlen=MOST_WAITING))
    waiting_since: float = 0.0


@define(eq=False)
class Catalogue:
    """
    The windows of all streams that ``tier`` announces, each with ``length`` segments listed.

    Whoever subscribes is told of every change, and with ``None`` when a stream is no longer known.
    """

    bus: Bus
    tier: Tier
    source: StateSource | None
    length: int
    clock: IReactorTime
    metrics: Metrics
    _entries: dict[str, _Entry] = field(factory=dict, init=False)
    _early: dict[str, deque[Announcement]] = field(factory=dict, init=False)
    _subscribers: list[Changed] = field(factory=list, init=False)
    _asking_all: bool = field(default=False, init=False)
    _asked_all_at: float = field(default=float("-inf"), init=False)
    _has_complained: bool = field(default=False, init=False)
    _answered_at: float = field(default=float("-inf"), init=False)
    _look: IDelayedCall | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def start(self) -> None:
        """Listen, and look regularly for what was missed."""
        self.bus.listen(self.tier, self)
        self._look = self.clock.callLater(0, self._tick)

    def stop(self) -> None:
        if self._look is not None and self._look.active():
            self._look.cancel()

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

    def uninformed(self) -> list[str]:
        """Why this node does not know what is live; nothing when it does."""
        if self.bus.is_healthy or self.clock.seconds() - self._answered_at < INFORMED_S:
            return []
        return ["the bus is not heard, and the tier above does not answer"]

    def holder(self, stream: str) -> str:
        """The id of the node that has a stream's newest segments; empty when that is not known."""
        entry = self._entries.get(stream)
        return "" if entry is None else entry.window.node

    def object_info(self, stream: str, rendition: str, name: str) -> ObjectInfo | None:
        """What is known of an object that may be fetched."""
        entry = self._entries.get(stream)
        return None if entry is None else entry.window.object_info(rendition, name)

    # What the bus tells

    def announced(self, announcement: Announcement) -> None:
        stream = announcement.stream
        entry = self._entries.get(stream)
        if entry is None:
            self._first(announcement)
            return
        change = self._take(entry, announcement)
        self.metrics.bus_messages.labels(change.name.lower()).inc()
        if change is not Change.STALE:
            entry.heard_at = self.clock.seconds()
        if change is Change.NEWS:
            self._try_waiting(entry)
        elif change is Change.HOLE:
            self._ask(entry)

    def recovered(self, states: Sequence[StreamState]) -> None:
        for state in states:
            self._merge(state)

    # Asking

    def _first(self, announcement: Announcement) -> None:
        """Of a stream that is new here, learn what was announced before."""
        stream = announcement.stream
        early = self._early.setdefault(stream, deque(maxlen=MOST_WAITING))
        early.append(announcement)
        if len(early) == 1:
            asked: Deferred[Any] = self.bus.recall(self.tier, stream).addErrback(self._unanswered)
            asked.addCallback(self._or_above, stream).addErrback(self._unanswered)
            asked.addCallback(self._begin, stream)

    def _or_above(
        self, state: StreamState | None, stream: str
    ) -> Sequence[StreamState] | Deferred[Sequence[StreamState]]:
        if state is not None:
            return [state]
        return [] if self.source is None else self.source.state(stream).addTimeout(ASK_S, self.clock)

    def _begin(self, states: Sequence[StreamState] | None, stream: str) -> None:
        early = self._early.pop(stream, deque())
        for state in states or ():
            self._merge(state)
        for announcement in early:
            if isinstance(announcement, SegmentAnnounced):
                self._entry(stream)
            if stream in self._entries:
                self.announced(announcement)

    def _take(self, entry: _Entry, announcement: Announcement) -> Change:
        """Take an announcement in, or keep it until what is missing before it is known."""
        change = entry.window.apply(announcement)
        if change is Change.NEWS:
            self._tell(entry.window.stream, entry.window.told(announcement))
        elif change is Change.HOLE:
            if not entry.waiting:
                entry.waiting_since = self.clock.seconds()
            entry.waiting.append(announcement)
        return change

    def _try_waiting(self, entry: _Entry) -> None:
        """Something came: it may be what others waited for, in whatever order they were heard."""
        is_news = True
        while is_news and entry.waiting:
            since, waiting = entry.waiting_since, list(entry.waiting)
            entry.waiting.clear()
            is_news = Change.NEWS in [self._take(entry, announcement) for announcement in waiting]
            entry.waiting_since = since

    def _give_up(self, entry: _Entry) -> None:
        """Nobody has what is missing: go on without it."""
        waiting = list(entry.waiting)
        entry.waiting.clear()
        self.log.warn("{stream}: what was not heard is listed as gaps", stream=entry.window.stream)
        for announcement in waiting:
            for news in entry.window.fill(announcement):
                self._tell(entry.window.stream, news)

    def _entry(self, stream: str) -> _Entry:
        entry = self._entries.get(stream)
        if entry is None:
            entry = self._entries[stream] = _Entry(Window(stream, self.length), self.clock.seconds())
        return entry

    def _merge(self, state: StreamState) -> None:
        if state.stream not in self._entries and self._is_over(state):
            return
        entry = self._entry(state.stream)
        news = entry.window.merge(state)
        if news:
            entry.heard_at = self.clock.seconds()
        for announcement in news:
            self._tell(state.stream, announcement)
        self._try_waiting(entry)

    def _is_over(self, state: StreamState) -> bool:
        """A state that was left behind by a process that died long ago is none."""
        ends = [s.starts_at_ms + s.duration_ms for r in state.renditions for s in r.segments]
        return state.is_ended or max(ends, default=0) < (self.clock.seconds() - KEPT_S) * 1000

    def _tick(self) -> None:
        self._look = self.clock.callLater(LOOK_S, self._tick)
        self.metrics.bus_up.set(self.bus.is_healthy)
        if not self.bus.is_healthy or (self.source is not None and self.source.has_cut_off_nodes):
            self._ask_all()
        for entry in list(self._entries.values()):
            self._look_at(entry)

    def _look_at(self, entry: _Entry) -> None:
        now, target_s = self.clock.seconds(), max(entry.window.target_s, 1)
        if now - entry.heard_at > KEPT_S:
            self._forget(entry.window.stream)
            return
        if entry.waiting and now - entry.waiting_since > target_s:
            self._give_up(entry)
        is_silent = not entry.window.is_ended and now - entry.heard_at > target_s + SLACK_S
        if (is_silent and self.bus.is_healthy) or entry.waiting:
            self._ask(entry)

    def _ask_all(self) -> None:
        now = self.clock.seconds()
        if self.source is not None and not self._asking_all and now - self._asked_all_at >= ASK_S:
            self._asking_all, self._asked_all_at = True, now
            self.source.states().addCallbacks(self._answered, self._unanswered).addBoth(self._asked_all)

    def _answered(self, states: Sequence[StreamState]) -> None:
        self._has_complained = False
        self._answered_at = self.clock.seconds()
        self.recovered(states)

    def _asked_all(self, _: object) -> None:
        self._asking_all = False

    def _unanswered(self, failure: Failure) -> None:
        if not self._has_complained:
            self._has_complained = True
            self.log.info("the tier above does not answer: {reason}", reason=failure.getErrorMessage())

    def _ask(self, entry: _Entry) -> None:
        """Something is missing, or it is too quiet: read what is kept of the stream, and ask the tier above as well."""
        now, stream = self.clock.seconds(), entry.window.stream
        if now - entry.asked_at < ASK_S:
            return
        entry.asked_at = now
        self.bus.recall(self.tier, stream).addCallbacks(self._told, self._unanswered)
        if self.source is not None:
            self.source.state(stream).addCallbacks(self.recovered, self._unanswered)

    def _told(self, state: StreamState | None) -> None:
        if state is not None:
            self._merge(state)

    def _forget(self, stream: str) -> None:
        del self._entries[stream]
        self._tell(stream, None)

    def _tell(self, stream: str, announcement: Announcement | None) -> None:
        """Tell everyone, whatever becomes of one of them."""
        for changed in self._subscribers:
            try:
                changed(stream, announcement)
            except Exception:
                self.log.failure("{stream}: a change was not taken in", stream=stream)
