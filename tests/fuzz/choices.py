"""Structured decisions from the bytes of an input, read from the front; zeros once it is exhausted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

from attrs import define, field

T = TypeVar("T")

PIECES = (1, 1, 2, 3, 5, 11, 12, 17, 64, 130, 1000, 5000)
"""Sizes of single reads from a connection; the lengths of RTMP chunk headers are among them."""


@define(eq=False)
class Choices:
    """Reads decisions from the front of ``data``."""

    data: bytes
    _at: int = field(default=0, init=False)

    @property
    def at_end(self) -> bool:
        return self._at >= len(self.data)

    def number(self, size: int = 1) -> int:
        """An unsigned number of ``size`` bytes."""
        return int.from_bytes(self.take(size).ljust(size, b"\x00"), "big")

    def signed(self, size: int) -> int:
        """A number of ``size`` bytes in two's complement."""
        return int.from_bytes(self.take(size).ljust(size, b"\x00"), "big", signed=True)

    def pick(self, options: Sequence[T]) -> T:
        """One of ``options``."""
        return options[self.number() % len(options)]

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes, or those that are left."""
        taken = self.data[self._at : self._at + count]
        self._at += len(taken)
        return taken

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(len(self.data))


def pieces(data: bytes, pattern: int) -> Iterator[bytes]:
    """Split ``data`` as a connection may deliver it: whole (pattern 0), in single bytes (1), or pseudo-randomly."""
    if pattern == 0:
        yield data
        return
    random = Random(pattern)
    at = 0
    while at < len(data):
        size = 1 if pattern == 1 else random.choice(PIECES)
        yield data[at : at + size]
        at += size
