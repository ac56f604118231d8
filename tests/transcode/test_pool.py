"""The parent with real children, which are killed."""

import os
import re
import signal
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from weakref import ref

import pytest
import pytest_twisted
from attrs import define, evolve, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import deferLater

from livestream.media.codecs import VideoConfig, parse_config
from livestream.metrics import Metrics
from livestream.model.frames import Frame
from livestream.transcode.ladder import Rung
from livestream.transcode.memory import needed_bytes
from livestream.transcode.pool import Transcode, TranscoderPool
from livestream.transcode.seccomp import architecture
from tests.transcode.sources import bomb, decoded, pictures

RUNGS = (Rung("180p", 180, 300), Rung("90p", 90, 150))


@define(eq=False)
class Shelf:
    """Keeps what comes, as a segmenter does: what comes again replaces what is there from that time on."""

    frames: dict[str, list[Frame]] = field(factory=lambda: defaultdict(list))
    restarts: list[int] = field(factory=list)
    shed: list[str] = field(factory=list)
    refused: list[str] = field(factory=list)
    first: Deferred[None] = field(factory=Deferred)

    def rung_frame(self, rendition: str, frame: Frame) -> None:
        self.frames[rendition].append(frame)
        if len(self.frames[rendition]) == 20 and not self.first.called:
            self.first.callback(None)

    def rung_restarted(self, from_dts_ms: int) -> None:
        self.restarts.append(from_dts_ms)
        for rendition, frames in self.frames.items():
            self.frames[rendition] = [frame for frame in frames if frame.dts_ms < from_dts_ms]

    def rung_shed(self, rendition: str, reason: str) -> None:
        self.shed.append(rendition)

    def source_refused(self, reason: str) -> None:
        self.refused.append(reason)


def opened(shelf: Shelf, metrics: Metrics) -> Transcode:
    return TranscoderPool(reactor, metrics, "ultrafast").open("cam", RUNGS, 360, shelf)


def feed(transcode: Transcode, frames: Iterable[Frame]) -> None:
    for frame in frames:
        transcode.feed(frame, frame.pts_ms if frame.is_key and not frame.is_config else None)


def kill(transcode: Transcode) -> None:
    assert transcode.pid is not None
    os.kill(transcode.pid, signal.SIGKILL)


async def flushed(transcode: Transcode) -> None:
    while transcode.pid is None:
        await deferLater(reactor, 0.01)
    await transcode.flush()


def restarts(metrics: Metrics, reason: str) -> float | None:
    return metrics.registry.get_sample_value("livestream_transcoder_restarts_total", {"reason": reason})


@pytest_twisted.ensureDeferred
async def test_a_flush_waits_for_everything_and_feeding_goes_on_after_it() -> None:
    shelf, frames = Shelf(), pictures(seconds=2)
    transcode = opened(shelf, Metrics())
    feed(transcode, frames)
    await transcode.flush()
    assert [len(decoded(shelf.frames[rung.name])) for rung in RUNGS] == [50, 50]
    feed(transcode, [evolve(frame, dts_ms=frame.dts_ms + 2000) for frame in frames])
    await transcode.flush()
    assert [len(decoded(shelf.frames[rung.name])) for rung in RUNGS] == [100, 100]
    transcode.close()


@pytest_twisted.ensureDeferred
async def test_a_killed_child_loses_nothing() -> None:
    shelf, metrics, frames = Shelf(), Metrics(), pictures(seconds=4)
    transcode = opened(shelf, metrics)
    feed(transcode, frames[:70])
    await shelf.first
    transcode.release(1100)
    kill(transcode)
    feed(transcode, frames[70:])
    while not shelf.restarts:
        await deferLater(reactor, 0.01)
    await flushed(transcode)
    times = sorted(frame.pts_ms for frame in frames[1:])
    keys = [frame.pts_ms for frame in frames[1:] if frame.is_key]
    for rung in RUNGS:
        seen = decoded(shelf.frames[rung.name])
        assert [time for time, _, _ in seen] == times
        assert [time for time, is_key, _ in seen if is_key] == keys
    assert restarts(metrics, "crashed") == 1
    transcode.close()


@pytest_twisted.ensureDeferred
async def test_pictures_that_two_children_died_of_are_left_out() -> None:
    shelf, metrics, frames = Shelf(), Metrics(), pictures(seconds=2)
    transcode = opened(shelf, metrics)
    feed(transcode, frames[:40])
    for deaths in (1, 2):
        kill(transcode)
        while len(shelf.restarts) < deaths:
            await deferLater(reactor, 0.01)
    feed(transcode, frames[40:])
    await transcode.flush()
    seen = decoded(shelf.frames["90p"])
    assert len(seen) == 25
    assert not shelf.shed
    transcode.close()


@pytest_twisted.ensureDeferred
async def test_a_child_knows_no_secret_and_holds_no_file_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVESTREAM_CLUSTER_SECRET", "secret of the cluster")
    monkeypatch.setenv("LC_MARK", "of the test")
    listening = reactor.listenTCP(0, ServerFactory(), interface="127.0.0.1")
    shelf = Shelf()
    transcode = opened(shelf, Metrics())
    source = pictures(seconds=1)
    feed(transcode, source)
    await transcode.flush()
    process = Path(f"/proc/{transcode.pid}")
    environment = process.joinpath("environ").read_bytes()
    assert b"LC_MARK=of the test" in environment
    assert b"LIVESTREAM" not in environment and b"secret" not in environment
    assert sorted(each.name for each in process.joinpath("fd").iterdir()) == ["0", "1", "2"]
    assert all(os.readlink(each).startswith("pipe:") for each in process.joinpath("fd").iterdir())
    if architecture() is not None:
        assert "Seccomp:\t2\n" in process.joinpath("status").read_text()
    limits = process.joinpath("limits").read_text()
    config = parse_config(source[0])
    assert isinstance(config, VideoConfig)
    needed = needed_bytes(config.pictures, RUNGS, "ultrafast")
    assert re.findall(r"Max (?:address space|open files|file size) +(\d+)", limits) == ["0", "64", str(needed)]
    transcode.close()
    await listening.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_source_that_is_too_large_to_decode_is_refused_and_its_child_stays() -> None:
    shelf, metrics = Shelf(), Metrics()
    transcode = opened(shelf, metrics)
    pid = transcode.pid
    feed(transcode, bomb())
    await transcode.flush()
    assert "coded as 4352x4352" in shelf.refused[0]
    assert transcode.pid == pid
    transcode.close()


@pytest_twisted.ensureDeferred
async def test_closing_ends_the_child_and_a_flush_that_waits() -> None:
    transcode = opened(Shelf(), Metrics())
    pid = transcode.pid
    waiting = transcode.flush()
    transcode.close()
    await waiting
    while os.path.exists(f"/proc/{pid}"):
        await deferLater(reactor, 0.01)


@pytest_twisted.ensureDeferred
async def test_what_might_have_been_given_to_another_child_goes_when_nothing_more_is_to_come_out() -> None:
    frames = pictures(seconds=1)
    transcode = opened(Shelf(), Metrics())
    feed(transcode, frames)
    kept = ref(frames[1])
    frames.clear()
    assert kept() is not None
    transcode.close()
    assert kept() is None
