"""What one viewer has yet to be given, bounded in bytes and in time: a slow viewer misses pictures, and nobody else."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from attrs import define, field

from livestream.model.frames import Frame, Track
from livestream.push.tick_batch import Batch


@define(eq=False)
class _Item:
    """One batch, with the bytes of it that this viewer shall have."""

    batch: Batch
    data: bytes
    has_pictures: bool


@define(eq=False)
class Backlog:
    """
    A queue of shared batches. It holds references and copies nothing.

    When it holds more than ``limit_bytes``, or the media in it spans more than ``limit_ms``, the pictures up to the
    newest key frame in it are given up, or all of them until a key frame comes. Sound is kept where it fits.
    """

    limit_bytes: int
    limit_ms: int
    is_skipping: bool = field(default=False)
    size_bytes: int = field(default=0, init=False)
    _items: deque[_Item] = field(factory=deque, init=False)
    _owed: dict[Track, Frame] = field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._items)

    def owe(self, frames: Iterable[Frame]) -> None:
        """Have the configurations among ``frames`` go ahead of whatever comes out next."""
        for frame in frames:
            if frame.is_config:
                self._owed[frame.track] = frame

    def share(self, batch: Batch) -> bytes:
        """The bytes of a new batch that are for this viewer, which may be none; nothing may be queued."""
        return self._with_owed(batch, self._select(batch))

    def push(self, batch: Batch) -> int:
        """Add a batch and return how many groups of pictures had to be given up, in whole or in part."""
        data = self._select(batch)
        if data:
            self._items.append(_Item(batch, data, batch.has_pictures and not self.is_skipping))
            self.size_bytes += len(data)
        return self._shorten() if self._is_too_long() else 0

    def pop(self) -> bytes:
        """Take the oldest bytes out. :raises IndexError: there are none."""
        item = self._items.popleft()
        self.size_bytes -= len(item.data)
        return self._with_owed(item.batch, item.data)

    def clear(self) -> None:
        """Give up everything."""
        self._items.clear()
        self.size_bytes = 0

    def _select(self, batch: Batch) -> bytes:
        if not self.is_skipping:
            return batch.data
        if not batch.has_key:
            return batch.sound
        self.is_skipping = False
        return batch.resumption

    def _with_owed(self, batch: Batch, data: bytes) -> bytes:
        if not self._owed or not data:
            return data
        owed, self._owed = list(self._owed.values()), {}
        return batch.join(owed) + data

    def _is_too_long(self) -> bool:
        if not self._items:
            return False
        span_ms = self._items[-1].batch.ends_ms - self._items[0].batch.ends_ms
        return self.size_bytes > self.limit_bytes or span_ms > self.limit_ms

    def _shorten(self) -> int:
        """Give up the oldest sound that has lost its pictures already, then pictures, then sound again."""
        self._drop_oldest_sound()
        skipped = 0
        if self._is_too_long():
            skipped = self._give_up_pictures(self._newest_key())
            self._drop_oldest_sound()
        if self._is_too_long():
            skipped += self._give_up_pictures(len(self._items))
            self._drop_oldest_sound()
        return skipped

    def _drop_oldest_sound(self) -> None:
        while self._is_too_long() and not self._items[0].has_pictures:
            item = self._items.popleft()
            self.size_bytes -= len(item.data)
            self.owe(item.batch.frames)

    def _newest_key(self) -> int:
        """Where the newest key frame is after which pictures follow; the end if there is none, or nothing before it."""
        for index in range(len(self._items) - 1, 0, -1):
            if self._items[index].has_pictures and self._items[index].batch.has_key:
                return index
        return len(self._items)

    def _give_up_pictures(self, end: int) -> int:
        """Give up the pictures before the key frame in item ``end``, or all if there is no such item."""
        skipped = 0
        for index in range(end):
            item = self._items[index]
            if item.has_pictures:
                skipped += skipped == 0 or item.batch.has_key
                self._replace(item, item.batch.sound, has_pictures=False)
        if end < len(self._items):
            self._replace(self._items[end], self._items[end].batch.resumption, has_pictures=True)
        else:
            self.is_skipping = True
        self._items = deque(item for item in self._items if item.data)
        return skipped

    def _replace(self, item: _Item, data: bytes, has_pictures: bool) -> None:
        self.size_bytes += len(data) - len(item.data)
        item.data = data
        item.has_pictures = has_pictures
