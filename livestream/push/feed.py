"""The push of one rendition of a stream: its source adds the frames, and its viewers get them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from livestream.media.gop import GopCache
from livestream.metrics import Metrics
from livestream.model.admission import PushProtocol, Reason, Refusal
from livestream.model.frames import Frame
from livestream.push.fanout import Fanout, Start
from livestream.push.framing import FlvFraming, Framing, RelayFraming, RtmpFraming, WebSocketFraming
from livestream.push.timeline_splice import TimelineOrigin

ANSWER_S = 5.0
"""How long it may take to find out whether a stream is live."""

RELAY_TICKS = 4
"""
Relays are few and their ticks add up over the tiers, so theirs are this many times as frequent. From a relayed feed,
whose frames come in the ticks of its upstream, they get frames at once.
"""


@frozen
class PushLimits:
    """
    Limits of the push. A slow viewer's backlog has at most ``slow_bytes``, and ``slow_s`` seconds of media; a viewer
    waits ``wait_s`` for a broadcast to begin, and ``waiting_players`` do at most; a feed without viewers is kept for
    ``linger_s``; a viewer whose connection takes nothing for ``stall_s`` is closed. While it is not known here what is
    live, ``unknown_names_per_s`` are requested upstream.

    ``send_buffer_bytes`` is what the kernel may hold for a viewer on plain TCP, and as much again: enough for 20 Mbit/s
    at a round trip of 200 ms, and a bound where the kernel's own tuning has none that a thousand slow viewers could not
    fill.
    """

    tick_ms: int = 64
    chunk_bytes: int = 4096
    slow_bytes: int = 2 * 2**20
    slow_s: float = 4.0
    wait_s: float = 0.0
    linger_s: float = 10.0
    stall_s: float = 30.0
    gop_bytes: int = 16 * 2**20
    gop_s: float = 20.0
    waiting_players: int = 1000
    unknown_names_per_s: float = 10.0
    send_buffer_bytes: int = 262144


class FeedPhase(Enum):
    """The state of a feed."""

    WAITING = "there are no frames yet"
    LIVE = "there are frames to begin with"
    OVER = "the broadcast has ended"


WAITING = FeedPhase.WAITING


@define(eq=False)
class _Waiter:
    until: float
    ready: Deferred[None] = field(init=False)
    call: IDelayedCall = field(init=False)


@define(eq=False)
class Feed:
    """One rendition, whose frames are from a broadcast of this process or relayed from upstream."""

    stream: str
    rendition: str
    limits: PushLimits
    clock: IReactorTime
    metrics: Metrics
    is_relayed: bool = False
    phase: FeedPhase = field(default=FeedPhase.WAITING, init=False)
    metadata: bytes = field(default=b"", init=False)
    _cache: GopCache = field(init=False)
    _relaying: RelayFraming = field(init=False)
    _fanouts: dict[PushProtocol, Fanout] = field(factory=dict, init=False)
    _waiters: set[_Waiter] = field(factory=set, init=False)
    _unavailable: str = field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self._cache = GopCache(self.limits.gop_bytes, round(self.limits.gop_s * 1000))
        self._relaying = RelayFraming(RtmpFraming(self.limits.chunk_bytes), TimelineOrigin(0))

    @property
    def is_in_use(self) -> bool:
        """Whether it has viewers, or some who wait."""
        return bool(self._waiters) or self.viewers > 0

    @property
    def viewers(self) -> int:
        """How many watch."""
        return sum(map(len, self._fanouts.values()))

    # For the source of the frames

    def set_origin(self, origin: TimelineOrigin) -> None:
        """Set where the time line of the next frames is from."""
        self._relaying.origin = origin

    def set_metadata(self, metadata: bytes) -> None:
        """Set the body of the ``onMetaData`` message that new viewers get."""
        self.metadata = metadata

    def add(self, frame: Frame) -> None:
        """Push a frame. The times of a track must not go back."""
        self._cache.add(frame)
        if self._fanouts:
            for fanout in self._fanouts.values():
                if fanout:
                    fanout.add(frame)
        if self.phase is WAITING and not frame.is_config:
            self.phase = FeedPhase.LIVE
            self._resolve(self._waiters)

    def unavailable(self, reason: str) -> None:
        """There is nothing to push now, for this reason. Refuses those who may not wait any longer."""
        self._unavailable = reason
        now = self.clock.seconds()
        self._resolve([waiter for waiter in self._waiters if waiter.until <= now], _not_live(reason))
        for waiter in self._waiters:
            waiter.call.reset(waiter.until - now)

    def end(self) -> None:
        """The broadcast is over: end it for all viewers."""
        self.phase = FeedPhase.OVER
        self._resolve(self._waiters, _not_live(f"{self.stream} has ended"))
        for fanout in self._fanouts.values():
            fanout.finish()
        self.release()

    def cut(self) -> None:
        """The broadcast goes on at another node: abort all viewers, who find it there when they reconnect."""
        self.phase = FeedPhase.OVER
        self._resolve(self._waiters, _not_live(f"{self.stream} is at another node now"))
        for fanout in self._fanouts.values():
            fanout.cut()
        self.release()

    def close_stalled(self, stall_s: float) -> None:
        """Close the viewers whose connections have taken nothing for ``stall_s``."""
        for fanout in self._fanouts.values():
            fanout.close_stalled(stall_s)

    def release(self) -> None:
        """
        Release the frames: the feed gets no more viewers.

        A feed and its fan-outs refer to each other, so that the objects stay until the garbage collector runs, which
        depends on the number of new objects, and not on the size of old ones.
        """
        self._cache.clear()

    # For its viewers

    def ready(self, until: float) -> Deferred[None]:
        """
        Fire when there are frames. Every caller has a Deferred of its own and may cancel it.

        It fails with `Refusal` if there are none when the time ``until`` which to wait for them has come.
        """
        if self.phase is FeedPhase.LIVE:
            return succeed(None)
        delay = max(until - self.clock.seconds(), 0.0 if self._unavailable else ANSWER_S)
        waiter = _Waiter(until)
        waiter.ready = Deferred(lambda _: self._remove(waiter))
        waiter.call = self.clock.callLater(delay, self._time_out, waiter)
        self._waiters.add(waiter)
        return waiter.ready

    def fanout(self, protocol: PushProtocol) -> Fanout:
        """The fan-out to the viewers who speak ``protocol``."""
        if protocol not in self._fanouts:
            tick_s = self.limits.tick_ms / 1000
            if protocol is PushProtocol.RELAY:
                tick_s = 0.0 if self.is_relayed else tick_s / RELAY_TICKS
            framing = self._framing(protocol)
            self._fanouts[protocol] = Fanout(framing, tick_s, self._start, self.clock, self.metrics)
        return self._fanouts[protocol]

    def _framing(self, protocol: PushProtocol) -> Framing:
        if protocol is PushProtocol.RTMP:
            return RtmpFraming(self.limits.chunk_bytes)
        if protocol is PushProtocol.RELAY:
            return self._relaying
        return FlvFraming() if protocol is PushProtocol.FLV else WebSocketFraming()

    def _start(self) -> Start:
        """The cached frames, with the decoders' configurations at the time of the first frame that needs them."""
        frames = self._cache.frames()
        first_ms = next((frame.dts_ms for frame in frames if not frame.is_config), None)
        if first_ms is None:
            return Start(self.metadata, frames)
        return Start(self.metadata, [_not_before(frame, first_ms) for frame in frames])

    def _time_out(self, waiter: _Waiter) -> None:
        self._resolve([waiter], _not_live(self._unavailable or f"cannot determine now whether {self.stream} is live"))

    def _remove(self, waiter: _Waiter) -> None:
        self._waiters.discard(waiter)
        if waiter.call.active():
            waiter.call.cancel()

    def _resolve(self, waiters: Iterable[_Waiter], refusal: Refusal | None = None) -> None:
        for waiter in list(waiters):
            self._remove(waiter)
            if refusal is None:
                waiter.ready.callback(None)
            else:
                waiter.ready.errback(refusal)


def _not_live(message: str) -> Refusal:
    return Refusal(Reason.NOT_LIVE, message)


def _not_before(frame: Frame, time_ms: int) -> Frame:
    return evolve(frame, dts_ms=time_ms) if frame.is_config and frame.dts_ms < time_ms else frame
