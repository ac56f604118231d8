"""One time line, with every frame once, from what successive upstreams send of a stream."""

from __future__ import annotations

from attrs import define, evolve, field, frozen

from livestream.model.frames import Frame, Track

STEP_MS = 20
"""The gap between two unrelated broadcasts."""

_WRAP = 1 << 32


@frozen
class TimelineOrigin:
    """
    Where a time line comes from: it is that of the broadcast ``epoch``, moved by ``shift_ms``.

    Two nodes with the same epoch have the same frames, and either time line can be computed from the other.
    """

    epoch: int
    shift_ms: int = 0


@define(eq=False)
class TimelineSplice:
    """
    Places frames on the time line that this node's viewers get.

    When an upstream has the same broadcast as the one before, frames that came already are left out, and the others
    keep their places. Another broadcast is shifted to follow on. ``origin`` is ``None`` while it is unknown.
    """

    origin: TimelineOrigin | None = field(default=None, init=False)
    _upstream: TimelineOrigin | None = field(default=None, init=False)
    _offset_ms: int | None = field(default=0, init=False)
    _received_ms: int | None = field(default=None, init=False)
    _clock: tuple[int, float] | None = field(default=None, init=False)
    _last_ms: dict[Track, int] = field(factory=dict, init=False)
    _repeating: set[Track] = field(factory=set, init=False)
    _configs: dict[Track, bytes] = field(factory=dict, init=False)

    def connected(self) -> None:
        """There is a new connection, whose frames may have come before."""
        self._upstream = self._received_ms = self._clock = None
        if self._last_ms:
            self._offset_ms = None
            self._repeating = set(self._last_ms)

    def clock(self, newest_ms: int, arrived: float, upstream: TimelineOrigin) -> None:
        """
        Take a `CLOCK` message, which precedes the frames that it is about.

        The frame at ``newest_ms`` of the upstream's time line arrived at the ingest at ``arrived``.
        """
        self._clock = newest_ms, arrived
        if upstream == self._upstream:
            return
        self._upstream = upstream
        if self._offset_ms is None and self.origin is not None and self.origin.epoch == upstream.epoch:
            self._offset_ms = self.origin.shift_ms - upstream.shift_ms
        self._update_origin()

    def place(self, frame: Frame) -> Frame | None:
        """The frame on this node's time line; ``None`` if it came before."""
        if frame.is_config and self._configs.get(frame.track) == frame.body:
            return None
        dts_ms = self._shifted(frame.dts_ms)
        last_ms = self._last_ms.get(frame.track, dts_ms)
        if frame.is_config:
            self._configs[frame.track] = frame.body
            return evolve(frame, dts_ms=max(dts_ms, last_ms))
        if frame.track in self._repeating:
            if dts_ms <= last_ms:
                return None
            self._repeating.discard(frame.track)
        dts_ms = self._last_ms[frame.track] = max(dts_ms, last_ms)
        return evolve(frame, dts_ms=dts_ms, arrived=self._arrival(frame.dts_ms))

    def _shifted(self, received_ms: int) -> int:
        """A 32-bit time of the upstream, on this node's time line."""
        if self._received_ms is None:
            self._received_ms = received_ms
            if self._offset_ms is not None and self._last_ms:
                self._received_ms = unwrap(received_ms, max(self._last_ms.values()) - self._offset_ms)
        self._received_ms = unwrap(received_ms, self._received_ms)
        if self._offset_ms is None:
            self._offset_ms = max(self._last_ms.values()) + STEP_MS - self._received_ms
            self._repeating.clear()
            self._update_origin()
        return self._received_ms + self._offset_ms

    def _update_origin(self) -> None:
        """Once both are known, this node's time line is the upstream's shifted by the offset."""
        if self._offset_ms is not None:
            upstream = self._upstream
            self.origin = None if upstream is None else evolve(upstream, shift_ms=upstream.shift_ms + self._offset_ms)

    def _arrival(self, received_ms: int) -> float:
        if self._clock is None:
            return 0.0
        newest_ms, arrived = self._clock
        return arrived + (unwrap(received_ms, newest_ms) - newest_ms) / 1000


def unwrap(time_ms: int, near_ms: int) -> int:
    """The time nearest to ``near_ms`` of which ``time_ms`` is the lower 32 bits."""
    return near_ms + (time_ms - near_ms + _WRAP // 2) % _WRAP - _WRAP // 2
