"""Reads when media comes out of a push, and nothing else of it."""

from __future__ import annotations

from attrs import define, field

FILE_HEADER_BYTES = 13
"""The header of FLV and the first, empty back pointer."""
TAG_HEADER_BYTES, BACK_POINTER_BYTES = 11, 4
REBASED_MS = 10_000
"""A time stamp that is further behind belongs to a new time line, not to a group of pictures that was kept."""


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
    """Whether media is newer than all before it, over the connections of one viewer."""

    _newest_ms: int | None = field(default=None, init=False)

    def is_new(self, timestamp_ms: int) -> bool:
        """Whether this is not what an edge had kept for those who join."""
        newest_ms = self._newest_ms
        if newest_ms is not None and newest_ms - REBASED_MS < timestamp_ms <= newest_ms:
            return False
        self._newest_ms = timestamp_ms
        return True
