"""Processes that an edge fetches from are killed while it does: its viewers get all of an object, or see that it ended.

Each seed is an edge of its own. By hand, with more of :data:`SEEDS`, as many fills can be tried as one likes.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from attrs import define, field

from livestream.bus.announcements import encode_document
from livestream.model.segments import Epoch, ObjectInfo, RenditionInfo, Segment, SegmentAnnounced
from tests.ports import free_port
from tests.system.conftest import Site
from tests.system.processes import Daemon, Process, get, until
from tests.system.upstream import SIZE, body_of

SEEDS = range(2)
FILLS = 20
VIEWERS = 3
DEADLINE_S = 10

PATHS = [f"/live/show/{height}p/1-1.m4s" for height in range(100, 100 + FILLS)]
DIGESTS = {path: hashlib.sha256(body_of(path)).hexdigest() for path in PATHS}


def _state() -> bytes:
    """What the edge is told: a live stream of as many renditions, with one segment each."""
    announced = []
    for path, digest in DIGESTS.items():
        _, _, _, name, media = path.split("/")
        segment = Segment(1, 0, int(time.time() * 1000), 3000, ObjectInfo(media, SIZE, digest), None)
        announced.append(SegmentAnnounced("show", Epoch(1, 1), 3, RenditionInfo(name, "avc1.64001f", 1, 1), segment))
    return encode_document(announced)


@define(eq=False)
class Upstream(Process):
    """A node of the tier above, which can be started again where it was. ``gives`` says to whom it gives all."""

    port: int = field(kw_only=True)
    gives: str = field(kw_only=True)

    @classmethod
    def of(cls, folder: Path, name: str, gives: str) -> Upstream:
        return cls([], folder / f"{name}.log", port=free_port(), gives=gives)

    def start(self) -> None:
        script, states = Path(__file__).with_name("upstream.py"), self.log.with_name("states.json")
        self.arguments = [sys.executable, "-I", "-S", str(script), str(self.port), str(states), self.gives]
        before = self._lines("listens")
        super().start()
        until(lambda: self._lines("listens") > before, "an upstream that listens")

    def asked(self, path: str) -> list[int]:
        """From which byte on it was asked for an object, each time."""
        return [int(line[-1]) for line in self._lines("asked", path)]

    def _lines(self, *words: str) -> list[list[str]]:
        lines = self.words().splitlines() if self.log.exists() else []
        return [line.split() for line in lines if line.split()[: len(words)] == list(words)]


@define(eq=False)
class Viewer:
    """Somebody who asks for an object, and what came of the answer so far."""

    status: int = 0
    length: int = 0
    body: bytearray = field(factory=bytearray)
    took_ms: float = 0.0
    _came: asyncio.Event = field(factory=asyncio.Event)

    async def watch(self, port: int, path: str) -> None:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        try:
            await self._read(reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            """It was cut: what had come is here."""
        finally:
            writer.close()
            self.took_ms = (time.monotonic() - began) * 1000
            self._came.set()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        self.status = int(head.split()[1])
        self.length = int(head.partition("content-length: ")[2].split()[0])
        while data := await reader.read(1 << 16):
            self.body += data
            self._came.set()

    async def has(self, count: int) -> None:
        """Wait until so many bytes came, or no more will."""
        while len(self.body) < count and not self.took_ms:
            self._came.clear()
            await self._came.wait()

    def has_all_of(self, path: str) -> bool:
        return self.status == 200 and hashlib.sha256(self.body).hexdigest() == DIGESTS[path]


@define(eq=False)
class Scene:
    """An edge, and two upstreams that it may ask."""

    site: Site
    gives: str
    port: int = field(factory=free_port)
    upstreams: list[Upstream] = field(init=False)
    edge: Daemon = field(init=False)

    def __attrs_post_init__(self) -> None:
        (self.site.folder / "states.json").write_bytes(_state())
        self.upstreams = [Upstream.of(self.site.folder, name, self.gives) for name in ("a", "b")]
        for upstream in self.upstreams:
            self.site.run(upstream)
        above = ", ".join(f'{{http="http://127.0.0.1:{upstream.port}"}}' for upstream in self.upstreams)
        listens = [f"edge.{what}=tcp:{port}:interface=127.0.0.1" for what, port in self._ports()]
        redis = f"bus.redis=unix:{self.site.folder}/none.sock"
        self.edge = Daemon.of(self.site.folder, "edge", redis, *listens, f"edge.upstreams=[{above}]", role="edge")
        self.site.run(self.edge)
        until(lambda: self.body("/live/show/master.m3u8"), "a playlist")

    def _ports(self) -> Sequence[tuple[str, int]]:
        return ("http", self.port), ("rtmp", free_port())

    def body(self, path: str) -> bytes:
        """What is at a path of the edge; nothing when it cannot be had."""
        status, _, body = get(f"http://127.0.0.1:{self.port}{path}")
        return body if status == 200 else b""

    def in_order(self, path: str) -> list[Upstream]:
        """The one that was asked for an object first, and the other."""
        return sorted(self.upstreams, key=lambda upstream: 0 not in upstream.asked(path))

    def watching(self, path: str, viewers: Sequence[Viewer]) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(viewer.watch(self.port, path)) for viewer in viewers]


async def _fill_with_a_kill(scene: Scene, path: str, joins: int, cut: int) -> list[Viewer]:
    """Two ask for an object, one more when ``joins`` bytes of it came, and when ``cut`` did, its sender is killed."""
    viewers = [Viewer() for _ in range(VIEWERS)]
    async with asyncio.timeout(DEADLINE_S):
        watching = scene.watching(path, viewers[:-1])
        await viewers[0].has(joins)
        watching += scene.watching(path, viewers[-1:])
        await viewers[0].has(cut)
        scene.in_order(path)[0].stop()
        await asyncio.gather(*watching)
    return viewers


@pytest.mark.parametrize("seed", SEEDS)
def test_whoever_is_killed_at_any_byte_another_goes_on_from_there(site: Site, seed: int) -> None:
    scene, random = Scene(site, "parts"), Random(seed)
    for path in PATHS:
        cut = random.randrange(1, SIZE)
        joins = random.randrange(cut)
        viewers = asyncio.run(_fill_with_a_kill(scene, path, joins, cut))
        killed, other = scene.in_order(path)
        resumed = other.asked(path)
        print(f"seed {seed}: joins {joins} cut {cut} resumed {resumed}", *(f"{v.took_ms:.0f} ms" for v in viewers))
        assert [viewer.has_all_of(path) for viewer in viewers] == [True] * VIEWERS
        assert killed.asked(path) == [0]
        assert len(resumed) == 1 and cut <= resumed[0] < SIZE
        killed.start()
    assert scene.edge.metric("livestream_cache_bytes") == FILLS * SIZE


async def _fill_that_fails(scene: Scene, path: str, cuts: Sequence[int]) -> list[Viewer]:
    """All ask for an object, and everyone who could send it is killed, one after the other."""
    viewers = [Viewer() for _ in range(VIEWERS)]
    async with asyncio.timeout(DEADLINE_S):
        watching = scene.watching(path, viewers)
        for viewer in viewers:
            await viewer.has(1)
        for upstream, cut in zip(scene.in_order(path), cuts, strict=True):
            await viewers[0].has(cut)
            upstream.stop()
        await asyncio.gather(*watching)
    return viewers


@pytest.mark.parametrize("seed", SEEDS)
def test_when_all_are_killed_viewers_are_cut_and_nothing_is_kept(site: Site, seed: int) -> None:
    scene, path = Scene(site, "nobody"), PATHS[0]
    cuts = sorted(Random(seed).sample(range(1, SIZE), 2))
    viewers = asyncio.run(_fill_that_fails(scene, path, cuts))
    print(f"seed {seed}: cuts {cuts}, viewers had", *(len(viewer.body) for viewer in viewers))
    assert {(viewer.status, viewer.length) for viewer in viewers} == {(200, SIZE)}
    assert all(len(viewer.body) < SIZE for viewer in viewers)
    assert scene.edge.metric("livestream_cache_bytes") == 0
    back = scene.in_order(path)[0]
    back.gives = "all"
    back.start()
    body = until(lambda: scene.body(path), "the object, from the one that is back")
    assert hashlib.sha256(body).hexdigest() == DIGESTS[path]
    assert back.asked(path) == [0, 0]
