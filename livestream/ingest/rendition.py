"""One rendition of a broadcast: its frames packaged, shelved and announced, and fed to those who want them live."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import Protocol

from attrs import define, field

from livestream.ingest.numbers import Numberless
from livestream.model.frames import Frame, Track
from livestream.model.names import init_name
from livestream.model.segments import ObjectInfo, RenditionInfo
from livestream.packaging.cuts import Cut
from livestream.packaging.segmenter import Packaged, PackagedInit, PackagedSegment, Packager


class Feed(Protocol):
    """Those who want the frames of a rendition pushed."""

    def add(self, frame: Frame) -> None: ...


class Shelf(Protocol):
    """Where objects are fetched from."""

    def put(self, stream: str, rendition: str, info: ObjectInfo, data: bytes) -> None:
        """Have an object fetched from here on."""


HELD_SOUNDS = 512


@define(eq=False)
class Rendition:
    """
    ``give`` is called with every segment, in order; it goes on the shelf once it has a number. ``broadcast`` is the
    number that tells the broadcast from others.

    The sounds of a rung come before its pictures, which take their way through the transcoder; those who watch live
    get them together.
    """

    stream: str
    broadcast: int
    packager: Packager
    feed: Feed
    shelf: Shelf
    give: Callable[[Numberless], None]
    _info: RenditionInfo | None = field(default=None, init=False)
    _init: ObjectInfo | None = field(default=None, init=False)
    _fed_ms: int = field(default=-1, init=False)
    _needs_key: bool = field(default=False, init=False)
    _sounds: deque[Frame] = field(factory=lambda: deque(maxlen=HELD_SOUNDS), init=False)

    @property
    def name(self) -> str:
        return self.packager.name

    def cut(self, cut: Cut) -> None:
        """A segment begins."""
        self._ship(self.packager.add_cut(cut))

    def add(self, frame: Frame) -> None:
        """
        Take a frame of the source.

        :raises MediaError: it does not make sense.
        """
        self.feed.add(frame)
        packaged = self.packager.add(frame)
        if packaged:
            self._ship(packaged)

    def add_sound(self, frame: Frame) -> None:
        """Take a sound (or its configuration) of a rung."""
        if frame.is_config:
            self.feed.add(frame)
        elif not self.packager.is_shed:
            self._sounds.append(frame)
        self._ship(self.packager.add(frame))

    def add_picture(self, frame: Frame) -> None:
        """Take a picture (or its configuration) of a rung, which a transcoder may send twice, or too late."""
        if self.packager.is_shed:
            return
        if frame.is_config:
            self.feed.add(frame)
        elif frame.dts_ms > self._fed_ms and (frame.is_key or not self._needs_key):
            self._needs_key = False
            self._fed_ms = frame.dts_ms
            while self._sounds and self._sounds[0].dts_ms <= frame.dts_ms:
                self.feed.add(self._sounds.popleft())
            self.feed.add(frame)
        self._ship(self.packager.add(frame))

    def restart(self) -> None:
        """Another transcoder begins where segments are not out yet."""
        self._needs_key = True
        self.packager.restart()

    def shed(self) -> None:
        """Give the rendition up: gaps from here on."""
        self._sounds.clear()
        self._ship(self.packager.shed())

    def finish(self, end_ms: int) -> None:
        """The media has ended for now."""
        self._ship(self.packager.finish(end_ms))

    def gap(self, cut: Cut, duration_ms: int) -> None:
        """Announce that there is nothing for a while; before the first segment there is nothing to announce it of."""
        if self._info is not None:
            self.give(Numberless(cut, duration_ms, 0, self._info, self._init))

    def close(self) -> None:
        """The broadcast is over: let go of it, so that it is freed at once and not when cycles are collected."""
        self.give = _to_nobody

    def _ship(self, packaged: Sequence[Packaged]) -> None:
        for each in packaged:
            if isinstance(each, PackagedInit):
                self._init = self._put(each.data, init_name(self.broadcast, each.number))
            elif isinstance(each, PackagedSegment):
                self._info, cut = each.info, each.cut
                independent = cut.independent or Track.VIDEO not in cut.tracks
                shelve = partial(self._put, each.data)
                self.give(Numberless(cut, each.duration_ms, 0, each.info, self._init, shelve, independent))
            else:
                self.gap(each.cut, each.duration_ms)

    def _put(self, data: bytes, name: str) -> ObjectInfo:
        info = ObjectInfo(name, len(data), sha256(data).hexdigest())
        self.shelf.put(self.stream, self.name, info, data)
        return info


def _to_nobody(segment: Numberless) -> None:
    """Takes segments in place of a broadcast that is over."""
