"""Reads when media comes out of a push, and nothing else of it."""

from __future__ import annotations

from attrs import define, field

FILE_HEADER_BYTES = 13
"""The header of FLV and the first, empty back pointer."""
TAG_HEADER_BYTES, BACK_POINTER_BYTES = 11, 4
KEPT_S = 0.1
"""What comes so soon after the first media is what was kept for those who join."""


@define(eq=False)
class FlvReader:
    """Takes the bytes of one answer; says how new the newest of its tags is."""

    _received: bytearray = field(factory=bytearray, init=False)
    _is_begun: bool = field(default=False, init=False)

    def receive(self, data: bytes) -> int | None:
        """The time stamp of the last audio or video tag that is now complete, in milliseconds."""
        self._received += data
        if not self._is_begun:
            if len(self._received) < FILE_HEADER_BYTES:
                return None
            del self._received[:FILE_HEADER_BYTES]
            self._is_begun = True
        return self._tags()

    def _tags(self) -> int | None:
        newest, start, received = None, 0, self._received
        while len(received) - start >= TAG_HEADER_BYTES:
            size = int.from_bytes(received[start + 1 : start + 4], "big")
            end = start + TAG_HEADER_BYTES + size + BACK_POINTER_BYTES
            if end > len(received):
                break
            if received[start] in (8, 9):
                newest = received[start + 7] << 24 | int.from_bytes(received[start + 4 : start + 7], "big")
            start = end
        del received[:start]
        return newest


@define(eq=False)
class Progress:
    """
    Whether media is new, on one connection: neither older than what came, nor what an edge had kept for who joins.

    Time stamps of two connections say nothing, as each may be on a time line of its own.
    """

    _newest_ms: int = field(default=-1, init=False)
    _began_s: float | None = field(default=None, init=False)

    def is_new(self, timestamp_ms: int, now_s: float) -> bool:
        """Take what has come at ``now_s``."""
        if self._began_s is None:
            self._began_s = now_s
        is_newer = timestamp_ms > self._newest_ms
        self._newest_ms = max(self._newest_ms, timestamp_ms)
        return is_newer and now_s - self._began_s >= KEPT_S
