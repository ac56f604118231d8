"""What a node knows of every stream: heard on the bus, and asked for where the bus may have missed something."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.bus.interface import Bus, NotNow, Tier
from livestream.metrics import Metrics
from livestream.model.segments import Announcement, ObjectInfo, StreamEnded, StreamPosition
from livestream.packaging.window import Window

LOOK_S = 0.25
ASK_S = 1.0
ASK_ALL_S = 0.5
"""Without the bus, the tier above is asked for all streams so often; less often where reading the answer takes long."""
MOST_ASKED = 2
"""
So many streams are asked for one by one in `LOOK_S`. What hundreds lack has one reason, such as a node that is busy,
and to ask it for each of them every second would keep it busy: one answer then tells what is new of all.
"""
LOST_TARGETS = 2
"""
Streams that are silent for less are late rather than lost, while the bus is well: to ask for all of them would keep a
busy node busy, and so make the others late.
"""
SLACK_S = 0.5
"""A stream that has been silent for so much longer than its target duration is asked for."""
MOST_EARLY = 64
"""So many announcements of a stream wait while it is found out what was before them."""
READING_SHARE = 10
"""Of a node's time, a tenth at most goes into reading what the tier above knows of all streams."""
INFORMED_S = 5.0
"""An answer of the tier above is good for so long."""
KEPT_S = 60.0
"""A stream that has ended, or of which nothing is heard, is known for so long."""
LEARN_S = 2.0
"""So long after its start a node may not know yet what it should have heard of."""

Changed = Callable[[str, Announcement | None], None]


class Upstream(Protocol):
    """The tier above, asked over HTTP. Each answer may fail."""

    @property
    def has_cut_off_nodes(self) -> bool:
        """Whether the bus does not carry what some of its nodes announce."""

    def every_stream(self) -> Deferred[Sequence[Announcement]]:
        """What its nodes have announced of all streams, beyond what each answered last time."""

    def start_over(self) -> None:
        """Something that was answered is not known here: the next answer is to have everything."""

    def one_stream(self, stream: str) -> Deferred[Sequence[Announcement]]:
        """What its nodes have announced of one stream."""

    def warn(self, stream: str, node: str, epoch: int) -> None:
        """Tell a node whose numbers are not taken here that the stream has been taken, in this epoch."""


@define(eq=False)
class _Entry:
    """``missing_since`` is since when something is missing that is known to exist; ``None`` while nothing is."""

    window: Window
    heard_at: float
    asked_at: float = float("-inf")
    missing_since: float | None = None


@define(eq=False)
class Catalogue:
    """
    The windows of all streams that ``tier`` announces, each with ``length`` segments listed.

    Whoever subscribes is told of every change, and with ``None`` when a stream is no longer known.
    """

    bus: Bus
    tier: Tier
    upstream: Upstream | None
    length: int
    clock: IReactorTime
    metrics: Metrics
    _entries: dict[str, _Entry] = field(factory=dict, init=False)
    _early: dict[str, list[Announcement]] = field(factory=dict, init=False)
    _subscribers: list[Changed] = field(factory=list, init=False)
    _asking_all: bool = field(default=False, init=False)
    _ask_all_at: float = field(default=float("-inf"), init=False)
    _asked: int = field(default=0, init=False)
    """How many streams were asked for since the last look."""
    _has_complained: bool = field(default=False, init=False)
    _answered_at: float = field(default=float("-inf"), init=False)
    _started_at: float = field(default=float("inf"), init=False)
    _look: IDelayedCall | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def start(self) -> None:
        """Listen, and look regularly for what was missed."""
        self._started_at = self.clock.seconds()
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

    @property
    def is_informed(self) -> bool:
        """Whether a stream of which nothing is known here is one that nobody has."""
        has_heard = self.bus.is_healthy and self.bus.has_caught_up
        return has_heard or self.clock.seconds() - self._answered_at < INFORMED_S

    def is_on_air(self, stream: str) -> bool:
        """Whether a broadcast of a stream has begun, as far as is known here, and is not over."""
        entry = self._entries.get(stream)
        if entry is not None:
            return entry.window.is_on_air
        early = self._early.get(stream)
        return early is not None and not isinstance(early[-1], StreamEnded)

    def holder(self, stream: str) -> str:
        """The id of the node that has a stream's newest segments; empty when that is not known."""
        entry = self._entries.get(stream)
        return "" if entry is None else entry.window.node

    def epoch(self, stream: str) -> int:
        """The number of the youngest epoch of which anything was announced; 0 when there is none."""
        entry = self._entries.get(stream)
        return 0 if entry is None else entry.window.epoch

    def object_info(self, stream: str, rendition: str, name: str) -> ObjectInfo | None:
        """What is known of an object that may be fetched."""
        entry = self._entries.get(stream)
        return None if entry is None else entry.window.object_info(rendition, name)

    def position(self, stream: str) -> StreamPosition:
        """How far a stream has come, as far as is known here."""
        entry = self._entries.get(stream)
        return StreamPosition() if entry is None else entry.window.position()

    def promise(self, stream: str, epoch: int) -> StreamPosition:
        """
        Say how far a stream has come, and take no further number from epochs older than this one.

        :raises Superseded: a younger epoch is known.
        :raises NotNow: this node has just started, and may have made promises that it does not know of.
        """
        if self.clock.seconds() - self._started_at < LEARN_S or self.uninformed():
            raise NotNow("this node is still learning")
        entry = self._entry(stream)
        entry.heard_at = self.clock.seconds()
        return entry.window.promise(epoch)

    # What the bus tells

    def announced(self, announcement: Announcement) -> None:
        entry = self._entries.get(announcement.stream)
        if entry is None:
            self._first(announcement)
        else:
            self._take(entry, [announcement])

    def recovered(self, announcements: Sequence[Announcement]) -> None:
        by_stream: defaultdict[str, list[Announcement]] = defaultdict(list)
        for announcement in announcements:
            by_stream[announcement.stream].append(announcement)
        for stream, told in by_stream.items():
            if stream in self._early:
                self._early[stream].extend(told)
            else:
                self._take(self._entry(stream), told)

    # Asking

    def _first(self, announcement: Announcement) -> None:
        """Of a stream that is new here, learn what was announced before."""
        stream = announcement.stream
        early = self._early.setdefault(stream, [])
        if len(early) < MOST_EARLY:
            early.append(announcement)
        if len(early) == 1:
            asked: Deferred[Any] = self.bus.recall(self.tier, stream).addErrback(self._unanswered)
            asked.addCallback(self._or_upstream, stream).addErrback(self._unanswered)
            asked.addCallback(self._begin, stream)

    def _or_upstream(
        self, known: Sequence[Announcement] | None, stream: str
    ) -> Sequence[Announcement] | Deferred[Sequence[Announcement]]:
        if known or self.upstream is None:
            return known or ()
        return self.upstream.one_stream(stream).addTimeout(ASK_S, self.clock)

    def _begin(self, known: Sequence[Announcement] | None, stream: str) -> None:
        early = self._early.pop(stream, [])
        self._take(self._entry(stream), [*(known or ()), *early])

    def _entry(self, stream: str) -> _Entry:
        entry = self._entries.get(stream)
        if entry is None:
            entry = self._entries[stream] = _Entry(Window(stream, self.length), self.clock.seconds())
        return entry

    def _take(self, entry: _Entry, announcements: Iterable[Announcement]) -> None:
        news = entry.window.take(announcements)
        if news:
            entry.heard_at = self.clock.seconds()
        self._note_missing(entry)
        if entry.missing_since is not None:
            self._ask(entry)
        self.metrics.bus_messages.labels("news" if news else "known").inc()
        for announcement in news:
            self._tell(entry.window.stream, announcement)

    def _note_missing(self, entry: _Entry) -> None:
        if not entry.window.is_incomplete:
            entry.missing_since = None
        elif entry.missing_since is None:
            entry.missing_since = self.clock.seconds()

    def _tick(self) -> None:
        self._look = self.clock.callLater(LOOK_S, self._tick)
        self.metrics.bus_up.set(self.bus.is_healthy)
        if not self.bus.is_healthy or (self.upstream is not None and self.upstream.has_cut_off_nodes):
            self._ask_all()
        self._asked = 0
        for entry in sorted(self._entries.values(), key=lambda entry: entry.asked_at):
            self._look_at(entry)

    def _look_at(self, entry: _Entry) -> None:
        now, window, target_s = self.clock.seconds(), entry.window, max(entry.window.target_s, 1)
        if now - entry.heard_at > KEPT_S:
            self._forget(window.stream)
            return
        if entry.missing_since is not None and now - entry.missing_since > target_s:
            self._give_up(entry)
        is_silent = not window.is_ended and now - entry.heard_at > target_s + SLACK_S
        if (is_silent and self.bus.is_healthy) or entry.missing_since is not None:
            self._ask(entry)
        if self.upstream is not None:
            for node, epoch in window.refused_for:
                self.upstream.warn(window.stream, node, epoch)

    def _give_up(self, entry: _Entry) -> None:
        """Nobody has what is missing: go on without it."""
        listed = entry.window.skip_holes()
        self._note_missing(entry)
        self.log.warn("{stream}: the playlists go on without what was not heard", stream=entry.window.stream)
        for announcement in listed:
            self._tell(entry.window.stream, announcement)

    def _ask_all(self) -> None:
        now = self.clock.seconds()
        if self.upstream is not None and not self._asking_all and now >= self._ask_all_at:
            self._asking_all, self._ask_all_at = True, now + ASK_ALL_S
            self.upstream.every_stream().addCallbacks(self._answered, self._unanswered).addBoth(self._asked_all)

    def _answered(self, announcements: Sequence[Announcement]) -> None:
        self._has_complained = False
        self._answered_at = began_at = self.clock.seconds()
        try:
            self.recovered(announcements)
        except Exception:
            self.log.failure("what the tier above knows was not taken in")
            self._start_over()
        took_s = self.clock.seconds() - began_at
        self._ask_all_at = max(self._ask_all_at, began_at + READING_SHARE * took_s)

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
        if self._asked == MOST_ASKED:
            if entry.missing_since is not None or now - entry.heard_at > LOST_TARGETS * entry.window.target_s:
                self._ask_all()
            return
        self._asked += 1
        entry.asked_at = now
        self.bus.recall(self.tier, stream).addCallbacks(self.recovered, self._unanswered)
        if self.upstream is not None:
            self.upstream.one_stream(stream).addCallbacks(self.recovered, self._unanswered)

    def _start_over(self) -> None:
        if self.upstream is not None:
            self.upstream.start_over()

    def _forget(self, stream: str) -> None:
        entry = self._entries.pop(stream)
        if not entry.window.is_ended:
            self._start_over()  # it may be there still, and go on
        self._tell(stream, None)

    def _tell(self, stream: str, announcement: Announcement | None) -> None:
        """Tell everyone, whatever becomes of one of them."""
        for changed in self._subscribers:
            try:
                changed(stream, announcement)
            except Exception:
                self.log.failure("{stream}: a change was not taken in", stream=stream)
