"""A fan-out with its source, its clock and its viewers, whose sockets are real and are written when a test says so."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from zope.interface import implementer

from livestream.metrics import Metrics
from livestream.model.frames import Frame
from livestream.push.backlog import Backlog
from livestream.push.fanout import Fanout, Start
from livestream.push.viewer import Viewer
from tests.push.frames import spell

TICK_S = 0.064


@define(eq=False)
class Letters:
    """A framing whose bytes can be read."""

    protocol: str = "rtmp"

    def join(self, frames: Sequence[Frame]) -> bytes:
        return spell(frames)

    def begin(self, metadata: bytes, frames: Sequence[Frame]) -> bytes:
        return b"[" + metadata + spell(frames).strip() + b"] "


@implementer(IReactorFDSet)
class FakeReactor(Clock):
    """Lets a test say when sockets are written."""

    def __init__(self) -> None:
        super().__init__()
        self.writers: list[Connection] = []

    def addReader(self, reader: object) -> None: ...
    def removeReader(self, reader: object) -> None: ...
    def addWriter(self, writer: Any) -> None:
        if writer not in self.writers:
            self.writers.append(writer)

    def removeWriter(self, writer: Any) -> None:
        if writer in self.writers:
            self.writers.remove(writer)

    def removeAll(self) -> list[Any]:
        return []

    getReaders = getWriters = removeAll

    def write(self) -> None:
        """Let every transport that wants to write do so, until none does or all are full."""
        for _ in range(100):
            for writer in list(self.writers):
                writer.doWrite()


@define(eq=False)
class Player:
    """The far end of a viewer's connection, and what the viewer speaks."""

    reactor: FakeReactor
    near: socket.socket = field(init=False)
    far: socket.socket = field(init=False)
    transport: Connection = field(init=False)
    viewer: Viewer = field(init=False)
    is_over: bool = field(default=False, init=False)
    is_lost: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.far.setblocking(False)
        protocol: Any = self
        self.transport = Connection(self.near, protocol, self.reactor)
        self.transport.connected = 1
        self.viewer = Viewer(self.transport, self, Backlog(100_000, 4000))
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    def connectionLost(self, reason: object) -> None:
        self.is_lost = True

    def over(self) -> None:
        self.is_over = True

    def read(self, most: int = 1 << 20) -> str:
        text = b""
        try:
            while len(text) < most and (more := self.far.recv(most - len(text))):
                text += more
        except BlockingIOError:
            pass
        return text.decode()

    def read_all(self) -> str:
        """Read until nothing more is on its way."""
        text = ""
        while True:
            self.reactor.write()
            more = self.read()
            if not more:
                return text
            text += more

    def close(self) -> None:
        self.near.close()
        self.far.close()


@define(eq=False)
class Show:
    """A fan-out with its source and its clock."""

    reactor: FakeReactor = field(factory=FakeReactor)
    metrics: Metrics = field(factory=Metrics)
    cached: list[Frame] = field(factory=list)
    fanout: Fanout = field(init=False)
    players: list[Player] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        start: Callable[[], Start] = lambda: Start(b"", list(self.cached))  # noqa: E731
        self.fanout = Fanout(Letters(), TICK_S, start, self.reactor, self.metrics)

    def add(self, *frames: Frame) -> None:
        for frame in frames:
            self.cached.append(frame)
            self.fanout.add(frame)

    def tick(self) -> None:
        self.reactor.advance(TICK_S)

    def player(self) -> Player:
        player = Player(self.reactor)
        self.players.append(player)
        self.fanout.attach(player.viewer)
        return player

    def flowing(self) -> Player:
        """One who has had the first bytes and whose socket is written to directly."""
        player = self.player()
        self.tick()
        player.read_all()
        assert player.viewer.descriptor is not None
        return player

    def value(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(name, {}) or 0.0
