"""
A stream from upstream, for as long as it has viewers here.

Each rendition that is watched is played once. When its upstream fails, or does not answer, the next that is chosen for
the stream is played at once, and viewers notice a pause at most. A relay keeps its upstream while that plays, even if
another would be chosen by now.

A broadcast may go on at another node while its old one is frozen, or waits for a publisher who will not come back,
without an announcement. So, after a second without media, upstream nodes are asked which streams they have (`Relays`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from math import isfinite
from typing import ClassVar, Protocol

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.media.errors import MediaError
from livestream.media.flv import AUDIO, VIDEO, parse_audio, parse_video
from livestream.metrics import Metrics
from livestream.model.frames import Frame
from livestream.push.feed import Feed, FeedPhase
from livestream.push.framing import CLOCK
from livestream.push.timeline_splice import TimelineOrigin, TimelineSplice
from livestream.rtmp.amf0 import encode

CHECK_S = 0.25
ASK_AFTER_CHECKS = 4
ANSWER_CHECKS = 4
"""
An upstream that is silent for so many checks is pinged; if it is silent for so many more, it has failed: in all that
takes two seconds.

Checks are counted instead of time: a process that was itself stopped for a while has not read, and gets its answers
before the next check. A silent stream is kept while its upstream answers: its publisher may come back.
"""

CONNECT_CHECKS = 8
"""How many checks it may take to connect until the stream plays."""

STARVED_CHECKS = 4
"""A relay is starved after so many checks without media, which is a second: who has its stream is asked."""

ASK_S = 1.0
"""How often upstream nodes are asked at most, for all relays together."""

RETRY_S = 0.5
"""How long to wait when no upstream had the stream, before all are tried again."""

GIVE_UP_S = 15.0
"""A stream that no upstream has had for so long is over for those who still watch it."""


class Receiver(Protocol):
    """Who gets what an upstream sends."""

    def started(self) -> None:
        """The stream plays."""

    def heard(self) -> None:
        """The upstream is alive."""

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> None: ...
    def data(self, timestamp_ms: int, name: str, values: Sequence[object]) -> None: ...
    def over(self) -> None:
        """The broadcast has ended; the upstream will close."""

    def lost(self, reason: str) -> None:
        """The link has ended: refused, unreachable or broken. Called once, and not after ``close``."""


class Link(Protocol):
    """One play of a stream from one upstream."""

    def ask(self) -> None:
        """Send a ping, which the upstream answers."""

    def close(self) -> None: ...


class Upstream(Protocol):
    """An upstream node; two that are equal are the same node."""

    def play(self, stream: str, rendition: str, receiver: Receiver) -> Link:
        """Begin to play; ``receiver`` is never called before this returns."""


Choose = Callable[[str], Sequence[Upstream]]
"""The nodes to try for a stream now, in this order."""

Holdings = Mapping[Upstream, Mapping[str, int]]
"""The streams that each node has, with the numbers of their epochs. Those that did not answer in time are missing."""


class RelayPhase(Enum):
    """The state of a relay, as it is counted."""

    CONNECTING = "connecting"
    PLAYING = "playing"
    WAITING = "waiting"
    STOPPED = "stopped"


@define(eq=False)
class Relay:
    """
    Plays one feed's stream from the first node that has it. ``on_end`` is called when the stream has ended.

    A relay is the receiver of one link at a time. All nodes that ``choose`` returned are tried before it is called
    again. While the relay is starved, ``on_starved`` is called at every check.
    """

    feed: Feed
    choose: Choose
    on_end: Callable[[Feed], None]
    on_starved: Callable[[], None]
    clock: IReactorTime
    metrics: Metrics
    phase: RelayPhase = field(default=RelayPhase.STOPPED, init=False)
    _splice: TimelineSplice = field(factory=TimelineSplice, init=False)
    _link: Link | None = field(default=None, init=False)
    upstream: Upstream | None = field(default=None, init=False)
    """The node that is played, or tried; ``None`` while none is."""
    _untried: deque[Upstream] = field(factory=deque, init=False)
    _without_since: float = field(default=0.0, init=False)
    _silent_checks: int = field(default=0, init=False)
    _starved_checks: int = field(default=0, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def start(self) -> None:
        self._without_since = self.clock.seconds()
        self._try_all()

    def stop(self) -> None:
        """The feed has no viewers any more."""
        self._enter(RelayPhase.STOPPED)
        self._close_link()
        self._cancel()

    def reconsider(self) -> None:
        """Play from the node that is chosen first by now: the stream may have another writer."""
        if self.phase is RelayPhase.PLAYING:
            upstreams = self.choose(self.feed.stream)
            if upstreams:
                self.switch_to(upstreams[0])

    @property
    def is_starved(self) -> bool:
        """Whether there has been no media for a second."""
        return self.phase is not RelayPhase.STOPPED and self._starved_checks >= STARVED_CHECKS

    def switch_to(self, upstream: Upstream) -> None:
        """Play from this node, where the broadcast goes on, unless that is so already."""
        if upstream != self.upstream:
            self._close_link()
            self._leave("the broadcast continues at another node", upstream)

    # What the upstream sends

    def started(self) -> None:
        self._enter(RelayPhase.PLAYING)
        self._splice.connected()
        self.log.info("{feed.stream}/{feed.rendition}: relayed from {upstream}", feed=self.feed, upstream=self.upstream)

    def heard(self) -> None:
        self._silent_checks = 0

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> None:
        self._starved_checks = 0
        try:
            frame = self._parse(type_id, timestamp_ms, body)
        except MediaError:
            self.metrics.frames_dropped.labels("relay").inc()
            return
        placed = None if frame is None else self._splice.place(frame)
        if placed is not None:
            self._update_origin()
            self.feed.add(placed)

    def data(self, timestamp_ms: int, name: str, values: Sequence[object]) -> None:
        if name == "onMetaData":
            self.feed.set_metadata(encode(name, *values))
        elif name == CLOCK:
            numbers = [value for value in values if isinstance(value, float) and isfinite(value)]
            if len(numbers) == 4:
                newest_ms, arrived, epoch, shift_ms = numbers
                self._splice.clock(int(newest_ms), arrived, TimelineOrigin(int(epoch), int(shift_ms)))
                self._update_origin()

    def over(self) -> None:
        self.stop()
        self.on_end(self.feed)

    def lost(self, reason: str) -> None:
        self._link = None
        if self.phase is RelayPhase.PLAYING:
            self._leave(reason)
        else:
            self._try_next(reason)

    # Which upstream

    def _try_all(self) -> None:
        self._choose()
        self._try_next("no upstream is known")

    def _leave(self, reason: str, first: Upstream | None = None) -> None:
        """Leave the upstream for another, ``first`` if it is given."""
        if self.phase is RelayPhase.PLAYING:
            self._without_since = self.clock.seconds()
            self.log.warn(
                "{feed.stream}/{feed.rendition}: lost {upstream}: {reason}",
                feed=self.feed, upstream=self.upstream, reason=reason,
            )  # fmt: skip
        self._choose()
        if first is not None:
            self._untried = deque([first, *(each for each in self._untried if each != first)])
        self._try_next(reason)

    def _choose(self) -> None:
        """Get the nodes to try; the one that played last is tried last."""
        upstreams = self.choose(self.feed.stream)
        self._untried = deque(sorted(upstreams, key=lambda upstream: upstream == self.upstream))

    def _connect(self, upstream: Upstream) -> None:
        self._enter(RelayPhase.CONNECTING)
        self._silent_checks = 0
        self.upstream = upstream
        self._link = upstream.play(self.feed.stream, self.feed.rendition, self)
        self._cancel()
        self._call = self.clock.callLater(CHECK_S, self._check)

    def _check(self) -> None:
        self._call = self.clock.callLater(CHECK_S, self._check)
        self._silent_checks += 1
        self._starved_checks += 1
        if self.is_starved:
            self.on_starved()
        if self.phase is RelayPhase.CONNECTING:
            if self._silent_checks >= CONNECT_CHECKS:
                self._drop("no answer")
        elif self._silent_checks == ASK_AFTER_CHECKS and self._link is not None:
            self._link.ask()
        elif self._silent_checks >= ASK_AFTER_CHECKS + ANSWER_CHECKS:
            self._drop("it stopped sending")

    def _drop(self, reason: str) -> None:
        self._close_link()
        self.lost(reason)

    def _try_next(self, reason: str) -> None:
        """Try the next node, or wait when all have been tried."""
        self._cancel()
        if self._untried:
            self._connect(self._untried.popleft())
            return
        self.upstream = None
        self._enter(RelayPhase.WAITING)
        self.feed.unavailable(reason)
        if self.feed.phase is FeedPhase.LIVE and self.clock.seconds() - self._without_since >= GIVE_UP_S:
            self.over()
        elif self.phase is RelayPhase.WAITING:
            self._call = self.clock.callLater(RETRY_S, self._try_all)

    def _close_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _cancel(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _enter(self, phase: RelayPhase) -> None:
        if self.phase is not RelayPhase.STOPPED:
            self.metrics.relays.labels(self.phase.value).dec()
        if phase is not RelayPhase.STOPPED:
            self.metrics.relays.labels(phase.value).inc()
        self.phase = phase

    def _parse(self, type_id: int, timestamp_ms: int, body: bytes) -> Frame | None:
        if type_id == VIDEO:
            return parse_video(timestamp_ms, body)
        return parse_audio(timestamp_ms, body) if type_id == AUDIO else None

    def _update_origin(self) -> None:
        if self._splice.origin is not None:
            self.feed.set_origin(self._splice.origin)


@define(eq=False)
class Relays:
    """
    Relays feeds from upstream (a `livestream.push.feeds.FeedSource`).

    While some relays are starved, ``ask_holdings`` is called once a second, and a stream is played from a node that has
    it in a younger epoch than its present upstream. If that one does not answer, its epoch is taken to be
    ``known_epoch``, so that a stream that no other node has stays where it is.
    """

    choose: Choose
    ask_holdings: Callable[[], Deferred[Holdings]]
    known_epoch: Callable[[str], int]
    clock: IReactorTime
    metrics: Metrics
    _relays: dict[Feed, Relay] = field(factory=dict, init=False)
    _asking: Deferred[None] | None = field(default=None, init=False)
    _asked_at: float = field(default=float("-inf"), init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        for phase in RelayPhase:
            if phase is not RelayPhase.STOPPED:
                self.metrics.relays.labels(phase.value)

    def start(self, feed: Feed, on_end: Callable[[Feed], None]) -> None:
        relay = Relay(feed, self.choose, on_end, self._on_starved, self.clock, self.metrics)
        self._relays[feed] = relay
        relay.start()

    def writer_changed(self, stream: str) -> None:
        """Another node writes a stream now."""
        for feed, relay in list(self._relays.items()):
            if feed.stream == stream:
                relay.reconsider()

    def stop(self, feed: Feed) -> None:
        self._relays.pop(feed).stop()
        if self._asking is not None and not self._relays:
            self._asking.cancel()

    def _on_starved(self) -> None:
        now = self.clock.seconds()
        if self._asking is None and now - self._asked_at >= ASK_S:
            self._asked_at = now
            asking = self.ask_holdings().addCallbacks(self._answered, self._unanswered)
            if not asking.called:
                self._asking = asking
            asking.addBoth(self._asked)

    def _asked(self, _: None) -> None:
        self._asking = None

    def _answered(self, holdings: Holdings) -> None:
        for relay in list(self._relays.values()):
            if relay.is_starved and (holder := self._younger(relay, holdings)) is not None:
                relay.switch_to(holder)

    def _younger(self, relay: Relay, holdings: Holdings) -> Upstream | None:
        """The node that has a relay's stream in the youngest epoch, if that is younger than that of its upstream."""
        stream = relay.feed.stream
        here = None if relay.upstream is None else holdings.get(relay.upstream)
        played = self.known_epoch(stream) if here is None else here.get(stream, 0)
        holder = max(holdings, key=lambda upstream: holdings[upstream].get(stream, 0), default=None)
        return holder if holder is not None and holdings[holder].get(stream, 0) > played else None

    def _unanswered(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("failed to ask the upstream nodes which streams they have", failure)
