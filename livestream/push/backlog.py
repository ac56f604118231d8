"""What one viewer has yet to be sent, bounded in bytes and in time: a slow viewer alone misses video."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from attrs import define, field

from livestream.model.frames import Frame, Track
from livestream.push.tick_batch import Batch


@define(eq=False)
class _Item:
    """One batch, with the bytes of it that are for this viewer."""

    batch: Batch
    data: bytes
    has_video: bool


@define(eq=False)
class Backlog:
    """
    A queue of shared batches. It holds references and copies nothing.

    When it holds more than ``limit_bytes``, or the media in it spans more than ``limit_ms``, the video up to the newest
    key frame in it is dropped, or all of it until the next key frame. Audio is kept where it fits.
    """

    limit_bytes: int
    limit_ms: int
    is_skipping: bool = field(default=False)
    size_bytes: int = field(default=0, init=False)
    _items: deque[_Item] = field(factory=deque, init=False)
    _configs: dict[Track, Frame] = field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._items)

    def queue_config(self, frames: Iterable[Frame]) -> None:
        """Send the decoder configurations among ``frames`` ahead of what is sent next."""
        for frame in frames:
            if frame.is_config:
                self._configs[frame.track] = frame

    def share(self, batch: Batch) -> bytes:
        """The bytes of a new batch that are for this viewer, maybe none. The queue must be empty."""
        return self._with_configs(batch, self._select(batch))

    def push(self, batch: Batch) -> int:
        """Add a batch, and return how many groups of pictures were dropped for it, in whole or in part."""
        data = self._select(batch)
        if data:
            self._items.append(_Item(batch, data, batch.has_video and not self.is_skipping))
            self.size_bytes += len(data)
        return self._shorten() if self._is_too_long() else 0

    def pop(self) -> bytes:
        """Take the oldest bytes out. :raises IndexError: there are none."""
        item = self._items.popleft()
        self.size_bytes -= len(item.data)
        return self._with_configs(item.batch, item.data)

    def clear(self) -> None:
        """Drop everything."""
        self._items.clear()
        self.size_bytes = 0

    def _select(self, batch: Batch) -> bytes:
        if not self.is_skipping:
            return batch.data
        if not batch.has_key_frame:
            return batch.audio_only
        self.is_skipping = False
        return batch.from_key_frame

    def _with_configs(self, batch: Batch, data: bytes) -> bytes:
        if not self._configs or not data:
            return data
        configs, self._configs = list(self._configs.values()), {}
        return batch.join(configs) + data

    def _is_too_long(self) -> bool:
        if not self._items:
            return False
        span_ms = self._items[-1].batch.ends_ms - self._items[0].batch.ends_ms
        return self.size_bytes > self.limit_bytes or span_ms > self.limit_ms

    def _shorten(self) -> int:
        """Drop the oldest audio whose video has been dropped already, then video, then audio again."""
        self._drop_oldest_audio()
        skipped = 0
        if self._is_too_long():
            skipped = self._drop_video(self._newest_key())
            self._drop_oldest_audio()
        if self._is_too_long():
            skipped += self._drop_video(len(self._items))
            self._drop_oldest_audio()
        return skipped

    def _drop_oldest_audio(self) -> None:
        while self._is_too_long() and not self._items[0].has_video:
            item = self._items.popleft()
            self.size_bytes -= len(item.data)
            self.queue_config(item.batch.frames)

    def _newest_key(self) -> int:
        """The item of the newest key frame that has others before it; the end if there is none."""
        for index in range(len(self._items) - 1, 0, -1):
            if self._items[index].has_video and self._items[index].batch.has_key_frame:
                return index
        return len(self._items)

    def _drop_video(self, end: int) -> int:
        """Drop the video before the key frame in item ``end``, or all video if there is no such item."""
        skipped = 0
        for index in range(end):
            item = self._items[index]
            if item.has_video:
                skipped += skipped == 0 or item.batch.has_key_frame
                self._replace(item, item.batch.audio_only, has_video=False)
        if end < len(self._items):
            self._replace(self._items[end], self._items[end].batch.from_key_frame, has_video=True)
        else:
            self.is_skipping = True
        self._items = deque(item for item in self._items if item.data)
        return skipped

    def _replace(self, item: _Item, data: bytes, has_video: bool) -> None:
        self.size_bytes += len(data) - len(item.data)
        item.data = data
        item.has_video = has_video
