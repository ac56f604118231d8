"""A real Redis for the tests of the bus."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from twisted.internet import reactor

from livestream.bus.redis import RedisBus
from livestream.metrics import Metrics
from tests.redis_program import redis_program


@define(eq=False)
class Server:
    """A Redis on a unix socket, with nothing on disk, that can be killed, frozen and started again."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix:{self.socket}"

    def start(self, *more: str) -> None:
        options = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir", str(self.folder), *more]
        self.process = subprocess.Popen(
            [redis_program(), *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait(10)
        self.socket.unlink(missing_ok=True)


@pytest.fixture
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="ls-"))  # short: a unix socket's path has 107 bytes at most
    server = Server(folder)
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


@define(eq=False)
class Ahead:
    """The reactor, on a machine whose wall clock is ``clock_s`` seconds ahead."""

    clock_s: float

    def seconds(self) -> float:
        return reactor.seconds() + self.clock_s

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


@pytest.fixture
def buses(server: Server) -> Iterator[Callable[..., RedisBus]]:
    """Makes buses on ``server``, which end with the test."""
    started: list[RedisBus] = []

    def start(node: str = "", secret: str = "", clock_s: float = 0.0) -> RedisBus:
        bus = RedisBus(server.url, Ahead(clock_s), Metrics(), node or f"node-{len(started)}", secret=secret)
        bus.startService()
        started.append(bus)
        return bus

    yield start
    for bus in started:
        bus.stopService()
