"""A publisher's timestamps, made into one time line for the whole broadcast."""

from __future__ import annotations

from attrs import define, field, frozen

from livestream.model import Track

JUMP_MS = 10_000
"""A step forward of more than this is a jump of the encoder's clock, not a pause in its media."""
BACK_MS = 1_000
"""A step back of more than this is a reset; less is the jitter of one track beside the other."""
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
    """

    base_ms: int = 0
    _offset_ms: int | None = field(default=None, init=False)
    _newest_raw: int = field(default=0, init=False)
    _newest_ms: dict[Track, int] = field(factory=dict, init=False)

    @property
    def newest_ms(self) -> int:
        """The latest time placed on any track."""
        return max(self._newest_ms.values(), default=self.base_ms)

    def resume(self, base_ms: int) -> None:
        """A new publisher goes on: its first timestamp will be placed at ``base_ms``."""
        self.base_ms = base_ms
        self._offset_ms = None

    def place(self, track: Track, timestamp_ms: int) -> Placed:
        """Place one timestamp, given modulo 2^32."""
        if self._offset_ms is None:
            self._newest_raw = timestamp_ms
            self._offset_ms = self.base_ms - timestamp_ms
            return Placed(self._forward(track, self.base_ms), False)
        step = (timestamp_ms - self._newest_raw + (WRAP >> 1)) % WRAP - (WRAP >> 1)
        raw = self._newest_raw + step
        is_jump = not -BACK_MS <= step <= JUMP_MS
        if is_jump:
            self._offset_ms = self.newest_ms + 1 - raw
        if is_jump or step > 0:
            self._newest_raw = raw
        return Placed(self._forward(track, raw + self._offset_ms), is_jump)

    def _forward(self, track: Track, time_ms: int) -> int:
        placed = max(time_ms, self._newest_ms.get(track, time_ms))
        self._newest_ms[track] = placed
        return placed
