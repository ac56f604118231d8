"""What the system tests start: a Redis, daemons in their roles, publishers."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path

import pytest
from attrs import define, field

from tests.ports import free_port
from tests.redis_program import redis_program
from tests.system.pictures import publisher
from tests.system.processes import MARK, Daemon, Process, T, until


@define(eq=False)
class RedisServer(Process):
    """A Redis, or a Valkey, on a unix socket and with nothing on disk."""

    socket: Path = field(kw_only=True)

    @classmethod
    def of(cls, folder: Path) -> RedisServer:
        path = folder / "redis.sock"
        options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no", "--dir", str(folder)]
        return cls([redis_program(), *options], folder / "redis.log", socket=path)

    @property
    def url(self) -> str:
        return f"unix:{self.socket}"

    def start(self) -> None:
        super().start()
        until(self.socket.exists, "a Redis server that listens")


@define(eq=False)
class Site:
    """Everything that one test has running; what is started here ends with the test."""

    folder: Path
    _stack: ExitStack = field(factory=ExitStack)

    def enter(self, context: AbstractContextManager[T]) -> T:
        return self._stack.enter_context(context)

    def run(self, process: Process) -> Process:
        self._stack.enter_context(process.running())
        return process

    def publish(self, url: str, seconds: float, name: str = "publisher", **how: object) -> Process:
        arguments: Sequence[str] = publisher(url, seconds, **how)  # type: ignore[arg-type]
        return self.run(Process(arguments, self.folder / f"{name}.log"))

    def redis(self) -> RedisServer:
        server = RedisServer.of(self.folder)
        self.run(server)
        return server

    def close(self) -> None:
        self._stack.close()


@define(eq=False)
class Tiers:
    """Ingest, origin and edge as three processes on one Redis."""

    site: Site
    settings: Sequence[str]
    redis: RedisServer
    ports: dict[str, int] = field(init=False)
    daemons: dict[str, Daemon] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        names = ("ingest.rtmp", "ingest.http", "origin.http", "origin.rtmp", "edge.http", "edge.rtmp")
        self.ports = {name: free_port() for name in names}
        for role in ("ingest", "origin", "edge"):
            self.start(role)

    def start(self, role: str) -> None:
        """Start the process of ``role``, again with the same ports if it had been killed."""
        above = {"origin": "ingest", "edge": "origin"}.get(role)
        settings = [f"{name}={self._local(name)}" for name in self.ports if name.startswith(role)]
        if above:
            http, rtmp = self.ports[f"{above}.http"], self.ports[f"{above}.rtmp"]
            settings.append(f'{role}.upstreams=[{{http="http://127.0.0.1:{http}", rtmp="rtmp://127.0.0.1:{rtmp}"}}]')
        daemon = Daemon.of(self.site.folder, role, f"bus.redis={self.redis.url}", *settings, *self.settings, role=role)
        self.site.run(daemon)
        self.daemons[role] = daemon

    def _local(self, name: str) -> str:
        return f"tcp:{self.ports[name]}:interface=127.0.0.1"

    @property
    def publish_url(self) -> str:
        return f"rtmp://127.0.0.1:{self.ports['ingest.rtmp']}/live"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.ports['edge.http']}"

    @property
    def play_url(self) -> str:
        return f"rtmp://127.0.0.1:{self.ports['edge.rtmp']}/live"


@pytest.fixture
def site() -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="ls-"))  # short: a unix socket's path has 107 bytes at most
    site = Site(folder)
    try:
        yield site
        site.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def tiers(site: Site) -> Callable[..., Tiers]:
    def start(*settings: str) -> Tiers:
        return Tiers(site, settings, site.redis())

    return start


@pytest.fixture(autouse=True)
def nothing_is_orphaned() -> Iterator[None]:
    """No transcoder survives the daemon that started it."""
    yield
    until(lambda: not transcoders(), "the end of every transcoder", 15)


def transcoders() -> list[int]:
    """The process ids of the transcoders of this run's daemons, which have its mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_ours = f"{MARK}={os.getpid()}".encode() in (folder / "environ").read_bytes()
            if is_ours and b"livestream.transcode.worker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found
