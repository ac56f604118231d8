"""A publisher's timestamps, made into one time line for the whole broadcast."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field, frozen

from livestream.model import Track

JUMP_MS = 10_000
"""A step forward of more than this is a jump of the encoder's clock, not a pause in its media."""
BACK_MS = 1_000
"""A step back of more than this is a reset; less is jitter."""
STEADY_MS = 250
"""A step of no more than this is a track's own, whatever the other does."""
START_MS = 10_000
"""Where a time line begins: the other track's first frame may be older than the first, and no time is below zero."""
AFTER_JUMP_MS = 40
"""A frame after a jump is taken to follow the one before it by a usual step."""
WRAP = 1 << 32


@frozen
class Placed:
    """Where a timestamp lies on the broadcast's time line; ``is_jump`` when the encoder's clock jumped right before."""

    dts_ms: int
    is_jump: bool


@define(eq=False)
class Timeline:
    """
    Places 32-bit RTMP timestamps on a line that never jumps and, for each track, never goes back.

    A publisher's first timestamp is placed at ``base_ms``, as is the first after :meth:`resume`. Times rise past 2^32.
    Each track keeps its own distance to the line, for some encoders count the two from different clocks; when both
    jump, the second follows the first.
    """

    base_ms: int = START_MS
    newest_ms: int = field(init=False)
    """The latest time placed on any track."""
    _offset_ms: dict[Track, int] = field(factory=dict, init=False)
    _near_ms: dict[Track, int] = field(factory=dict, init=False)
    _floor_ms: dict[Track, int] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.newest_ms = self.base_ms

    def resume(self, base_ms: int) -> None:
        """A new publisher goes on: its first timestamp will be placed at ``base_ms``."""
        self.base_ms = self.newest_ms = max(base_ms, self.newest_ms)
        self._offset_ms.clear()
        self._near_ms.clear()

    def place(self, track: Track, timestamp_ms: int) -> Placed:
        """Place one timestamp, given modulo 2^32."""
        time_ms = self._on_the_line(track, timestamp_ms)
        is_jump = time_ms is None and track in self._near_ms
        if time_ms is None:
            time_ms = self.newest_ms + (AFTER_JUMP_MS if is_jump else 0)
        self._offset_ms[track] = time_ms - timestamp_ms
        self._near_ms[track] = time_ms if is_jump else max(time_ms, self._near_ms.get(track, time_ms))
        time_ms = self._floor_ms[track] = max(time_ms, self._floor_ms.get(track, 0))
        self.newest_ms = max(self.newest_ms, time_ms)
        return Placed(time_ms, is_jump)

    def _on_the_line(self, track: Track, timestamp_ms: int) -> int | None:
        """The likeliest place that is no jump. The track's own distance holds, unless the other's fits far better."""
        near_ms = self._near_ms.get(track, self.newest_ms)
        back_ms = BACK_MS if track in self._near_ms else JUMP_MS
        steps = [step for step in self._steps(track, timestamp_ms, near_ms) if -back_ms <= step <= JUMP_MS]
        if not steps:
            return None
        own = steps[0]
        return near_ms + (own if abs(own) <= STEADY_MS else min(steps, key=abs))

    def _steps(self, track: Track, timestamp_ms: int, near_ms: int) -> Iterator[int]:
        others = (offset for other, offset in self._offset_ms.items() if other is not track)
        for offset_ms in (*((self._offset_ms[track],) if track in self._offset_ms else ()), *others):
            yield (timestamp_ms + offset_ms - near_ms + (WRAP >> 1)) % WRAP - (WRAP >> 1)
