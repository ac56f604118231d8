"""
A stream from the tier above, for as long as somebody here wants it.

Each rendition that is watched is played once. When its upstream dies, or answers no more, the next that is chosen for
the stream is played at once, and the viewers notice a pause at most. A stream that plays stays where it is when another
node would be chosen by now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from math import isfinite
from typing import ClassVar, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from livestream.delivery.feed import Feed
from livestream.delivery.feed import Phase as Feeding
from livestream.delivery.framing import AUDIO, CLOCK, VIDEO
from livestream.delivery.splice import Lineage, Splice
from livestream.media.errors import MediaError
from livestream.media.flv import parse_audio, parse_video
from livestream.metrics import Metrics
from livestream.model import Frame
from livestream.rtmp.amf0 import encode

CHECK_S = 0.25
ASK_AFTER_CHECKS = 4
ANSWER_CHECKS = 4
"""
A stream that is silent for so many checks has its upstream asked; if it is silent for so many more, it is dead: in all
that takes two seconds.

Checks are counted, and not the time: a process that was itself stopped for a while has not listened, and gets its
answers before the next check. A silent stream whose upstream answers is left in peace: its publisher may come back.
"""

CONNECT_CHECKS = 8
"""How many checks it may take to connect and be told that the stream plays."""

RETRY_S = 0.5
"""How long to wait when no upstream had the stream, before asking them all again."""

GIVE_UP_S = 15.0
"""A stream that no upstream has had for so long is over for those who still watch it."""


class Receiver(Protocol):
    """Who is told of what an upstream sends."""

    def started(self) -> None:
        """The stream plays."""

    def heard(self) -> None:
        """The upstream is alive."""

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> None: ...
    def data(self, timestamp_ms: int, name: str, values: Sequence[object]) -> None: ...
    def over(self) -> None:
        """The upstream says that the broadcast has ended; it will close."""

    def lost(self, reason: str) -> None:
        """Nothing more will come: refused, could not be reached, or broken. Called once, and not after ``close``."""


class Link(Protocol):
    """One play of a stream from one upstream."""

    def ask(self) -> None:
        """Have the upstream say something."""

    def close(self) -> None: ...


class Upstream(Protocol):
    """A node of the tier above; two that are equal are the same node."""

    def play(self, stream: str, rendition: str, receiver: Receiver) -> Link:
        """Begin to play; ``receiver`` is never called before this returns."""


Choose = Callable[[str], Sequence[Upstream]]
"""The nodes that are to be tried for a stream, in this order, as it is at the moment."""


class Phase(Enum):
    """What a relay is at, as it is counted."""

    CONNECTING = "connecting"
    PLAYING = "playing"
    WAITING = "waiting"
    STOPPED = "stopped"


@define(eq=False)
class Relay:
    """
    Plays one feed's stream from the first node that has it. ``over_for`` is called when the stream has ended.

    A relay is the receiver of one link at a time. All that ``choose`` has are tried before it is asked again.
    """

    feed: Feed
    choose: Choose
    over_for: Callable[[Feed], None]
    clock: IReactorTime
    metrics: Metrics
    phase: Phase = field(default=Phase.STOPPED, init=False)
    _splice: Splice = field(factory=Splice, init=False)
    _link: Link | None = field(default=None, init=False)
    _upstream: Upstream | None = field(default=None, init=False)
    _untried: deque[Upstream] = field(factory=deque, init=False)
    _without_since: float = field(default=0.0, init=False)
    _silent_checks: int = field(default=0, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def start(self) -> None:
        self._without_since = self.clock.seconds()
        self._try_all()

    def stop(self) -> None:
        """Nobody wants it any more."""
        self._enter(Phase.STOPPED)
        self._hang_up()
        self._cancel()

    def reconsider(self) -> None:
        """The stream may have another writer: play it from the node that is chosen first by now."""
        if self.phase is Phase.PLAYING:
            upstreams = self.choose(self.feed.stream)
            if upstreams and upstreams[0] != self._upstream:
                self._drop("the broadcast goes on at another node")

    # What the upstream sends

    def started(self) -> None:
        self._enter(Phase.PLAYING)
        self._splice.connected()
        self.log.info("{feed.stream}/{feed.rendition} plays from {upstream}", feed=self.feed, upstream=self._upstream)

    def heard(self) -> None:
        self._silent_checks = 0

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> None:
        try:
            frame = self._parse(type_id, timestamp_ms, body)
        except MediaError:
            self.metrics.frames_dropped.labels("relay").inc()
            return
        placed = None if frame is None else self._splice.place(frame)
        if placed is not None:
            self._tell_lineage()
            self.feed.add(placed)

    def data(self, timestamp_ms: int, name: str, values: Sequence[object]) -> None:
        if name == "onMetaData":
            self.feed.describe(encode(name, *values))
        elif name == CLOCK:
            numbers = [value for value in values if isinstance(value, float) and isfinite(value)]
            if len(numbers) == 4:
                newest_ms, arrived, epoch, shift_ms = numbers
                self._splice.clock(int(newest_ms), arrived, Lineage(int(epoch), int(shift_ms)))
                self._tell_lineage()

    def over(self) -> None:
        self.stop()
        self.over_for(self.feed)

    def lost(self, reason: str) -> None:
        self._link = None
        if self.phase is Phase.PLAYING:
            self._without_since = self.clock.seconds()
            self.log.warn(
                "{feed.stream}/{feed.rendition}: {upstream} is lost: {reason}",
                feed=self.feed, upstream=self._upstream, reason=reason,
            )  # fmt: skip
            self._choose()
        self._try_next(reason)

    # Which upstream

    def _try_all(self) -> None:
        self._choose()
        self._try_next("there is no upstream")

    def _choose(self) -> None:
        """Begin anew with those that are chosen now, of which the one that played last is tried last."""
        upstreams = self.choose(self.feed.stream)
        self._untried = deque(sorted(upstreams, key=lambda upstream: upstream == self._upstream))

    def _connect(self, upstream: Upstream) -> None:
        self._enter(Phase.CONNECTING)
        self._silent_checks = 0
        self._upstream = upstream
        self._link = upstream.play(self.feed.stream, self.feed.rendition, self)
        self._cancel()
        self._call = self.clock.callLater(CHECK_S, self._check)

    def _check(self) -> None:
        self._call = self.clock.callLater(CHECK_S, self._check)
        self._silent_checks += 1
        if self.phase is Phase.CONNECTING:
            if self._silent_checks >= CONNECT_CHECKS:
                self._drop("no answer")
        elif self._silent_checks == ASK_AFTER_CHECKS and self._link is not None:
            self._link.ask()
        elif self._silent_checks >= ASK_AFTER_CHECKS + ANSWER_CHECKS:
            self._drop("it has fallen silent")

    def _drop(self, reason: str) -> None:
        self._hang_up()
        self.lost(reason)

    def _try_next(self, reason: str) -> None:
        """Go on with the next, or, when all have been tried, wait a little."""
        self._cancel()
        if self._untried:
            self._connect(self._untried.popleft())
            return
        self._upstream = None
        self._enter(Phase.WAITING)
        self.feed.absent(reason)
        if self.feed.phase is Feeding.LIVE and self.clock.seconds() - self._without_since >= GIVE_UP_S:
            self.over()
        elif self.phase is Phase.WAITING:
            self._call = self.clock.callLater(RETRY_S, self._try_all)

    def _hang_up(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _cancel(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _enter(self, phase: Phase) -> None:
        if self.phase is not Phase.STOPPED:
            self.metrics.relays.labels(self.phase.value).dec()
        if phase is not Phase.STOPPED:
            self.metrics.relays.labels(phase.value).inc()
        self.phase = phase

    def _parse(self, type_id: int, timestamp_ms: int, body: bytes) -> Frame | None:
        if type_id == VIDEO:
            return parse_video(timestamp_ms, body)
        return parse_audio(timestamp_ms, body) if type_id == AUDIO else None

    def _tell_lineage(self) -> None:
        if self._splice.lineage is not None:
            self.feed.follow(self._splice.lineage)


@define(eq=False)
class Relays:
    """Relays every feed that is wanted from the tier above, which is the supply of a tier's feeds."""

    choose: Choose
    clock: IReactorTime
    metrics: Metrics
    _relays: dict[Feed, Relay] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        for phase in Phase:
            if phase is not Phase.STOPPED:
                self.metrics.relays.labels(phase.value)

    def wanted(self, feed: Feed, over_for: Callable[[Feed], None]) -> None:
        relay = self._relays[feed] = Relay(feed, self.choose, over_for, self.clock, self.metrics)
        relay.start()

    def moved(self, stream: str) -> None:
        """A stream has another writer."""
        for feed, relay in list(self._relays.items()):
            if feed.stream == stream:
                relay.reconsider()

    def unwanted(self, feed: Feed) -> None:
        self._relays.pop(feed).stop()
