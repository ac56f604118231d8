"""A viewer who never blinks: polls every playlist of a stream, fetches all that is listed, and remembers it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urljoin

import m3u8
from attrs import define, field

from tests.playlist_rules import PlaylistRules
from tests.system.pictures import Delivered, decode
from tests.system.processes import get


@define(eq=False)
class Rendition:
    """All that was ever listed of one rendition, in order. ``playlist`` and ``inits`` are paths."""

    playlist: str
    segments: dict[int, bytes | None] = field(factory=dict)
    durations: dict[int, float] = field(factory=dict)
    discontinuities: set[int] = field(factory=set)
    inits: dict[int, str] = field(factory=dict)
    changed_at: float = 0.0
    oldest_s: float = 0.0
    ended: bool = False
    text: str = ""

    @property
    def gaps(self) -> list[int]:
        return [msn for msn, data in self.segments.items() if data is None]


@define(eq=False)
class Viewer:
    """
    Polls ``master`` and its playlists every 200 ms from a thread of its own, at ``base``, which may be changed.

    ``troubles`` collects what a player would stumble over: answers other than 200 for what was listed, broken rules.
    ``failures`` has every request that was not answered with 200, by its path.
    """

    base: str
    stream: str
    renditions: dict[str, Rendition] = field(factory=dict)
    objects: dict[str, bytes] = field(factory=dict)
    troubles: list[str] = field(factory=list)
    failures: list[str] = field(factory=list)
    master: str = ""
    _rules: PlaylistRules = field(factory=PlaylistRules)
    _stop: threading.Event = field(factory=threading.Event)

    @contextmanager
    def watching(self) -> Iterator[Viewer]:
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(30)

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            try:
                self.poll()
            except Exception as error:
                self.troubles.append(repr(error))
                raise

    def poll(self) -> None:
        """Read every playlist once, and fetch what is new in it."""
        status, body = self._get(f"/live/{self.stream}/master.m3u8")
        if status == 200:
            self.master = body.decode()
            for variant in m3u8.loads(self.master).playlists:
                name = variant.uri.split("/")[0]
                path = urljoin(f"/live/{self.stream}/master.m3u8", variant.uri)
                self.renditions.setdefault(name, Rendition(path, changed_at=time.monotonic()))
        for name, rendition in self.renditions.items():
            self._poll(name, rendition)

    def _poll(self, name: str, rendition: Rendition) -> None:
        status, body = self._get(rendition.playlist)
        now = time.monotonic()
        if status == 200 and body.decode() != rendition.text:
            rendition.text = body.decode()
            rendition.changed_at = now
            self.troubles += self._rules.see(name, rendition.text, now)
            self._collect(name, rendition)
        if not rendition.ended:
            rendition.oldest_s = max(rendition.oldest_s, now - rendition.changed_at)

    def _collect(self, name: str, rendition: Rendition) -> None:
        playlist = m3u8.loads(rendition.text)
        rendition.ended = playlist.is_endlist
        for msn, segment in enumerate(playlist.segments, playlist.media_sequence or 0):
            if msn in rendition.segments:
                continue
            rendition.durations[msn] = segment.duration
            if segment.discontinuity:
                rendition.discontinuities.add(msn)
            if segment.gap_tag:
                rendition.segments[msn] = None
                continue
            rendition.segments[msn] = self._fetch(name, urljoin(rendition.playlist, segment.uri))
            rendition.inits[msn] = urljoin(rendition.playlist, segment.init_section.uri)
            if rendition.inits[msn] not in self.objects:
                self.objects[rendition.inits[msn]] = self._fetch(name, rendition.inits[msn])

    def _get(self, path: str) -> tuple[int, bytes]:
        status, _, body = get(self.base + path, 20)
        if status != 200:
            self.failures.append(f"{status} for {self.base}{path}: {body[:80]!r}")
        return status, body

    def _fetch(self, name: str, path: str) -> bytes:
        for _ in range(20):
            status, body = self._get(path)
            if status == 200:
                return body
            if status != 0:
                self.troubles.append(f"{name}: {status} for {path}")
            time.sleep(0.3)
        return b""

    def lost(self, name: str) -> list[int]:
        """The media sequence numbers that were never listed between the first and the last, or never got whole."""
        segments = self.renditions[name].segments
        return [msn for msn in range(min(segments), max(segments) + 1) if segments.get(msn, b"") == b""]

    def files(self, name: str) -> list[bytes]:
        """What was fetched of a rendition, one file for each initialisation segment."""
        rendition = self.renditions[name]
        files: dict[str, bytearray] = {}
        for msn, data in sorted(rendition.segments.items()):
            if data is not None:
                init = rendition.inits[msn]
                files.setdefault(init, bytearray(self.objects[init])).extend(data)
        return [bytes(file) for file in files.values()]

    def decoded(self, name: str) -> Delivered:
        """Decode all of a rendition that had one initialisation segment."""
        (file,) = self.files(name)
        return decode(file)

    def heights(self) -> set[int]:
        return {int(height) for height in re.findall(r"RESOLUTION=\d+x(\d+)", self.master)}
