"""
What is sent past Twisted, and the parts of Twisted that this rests on.

Each of these parts is tried over real sockets, under Twisted's own reactor and under a poller. Where a version of
Twisted has changed one, its test says which in one line.
"""

from __future__ import annotations

import ast
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

import pytest
from attrs import define, field
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.tcp import Connection, Server
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from livestream.net.direct_socket import DirectSocket, Poller, set_read_bytes

ROOT = Path(__file__).parents[2]
TWISTED = version("twisted")
MUCH = b"x" * 10_000_000
"""More than the buffers of two sockets take."""


def relied_on(part: str, holds: Callable[[], object]) -> None:
    """Fail in one line if a part of Twisted is not what ``livestream.net.direct_socket`` takes it for."""
    try:
        is_so = bool(holds())
    except AttributeError:
        is_so = False
    if not is_so:
        where = "livestream/net/direct_socket.py relies on it"
        pytest.fail(f"Twisted {TWISTED} has changed {part}: {where}", pytrace=False)


@define(eq=False)
class Ears(Protocol):
    """Hears what comes, and in which pieces."""

    heard: list[bytes] = field(factory=list)
    lost: list[Failure] = field(factory=list)

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)


@define(eq=False)
class Line:
    """A connection of two sockets: ``transport`` is ours, and ``far`` the peer's."""

    reactor: EPollReactor
    is_polled: bool
    far: socket.socket = field(init=False)
    transport: Connection = field(init=False)
    ears: Ears = field(factory=Ears, init=False)
    direct: DirectSocket = field(init=False)

    def __attrs_post_init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.far = socket.create_connection(listener.getsockname())
            near, peer = listener.accept()
        self.far.setblocking(False)
        self.transport = Server(near, self.ears, peer, None, 1, self.reactor)
        self.ears.makeConnection(self.transport)
        direct = DirectSocket.of(self.transport)
        assert direct is not None
        self.direct = direct
        if self.is_polled:
            Poller(self.reactor).adopt(direct)
        else:
            self.transport.startReading()

    def turn(self) -> None:
        self.reactor.iterate(0.001)

    def until(self, is_so: Callable[[], object], limit_s: float = 5.0) -> bool:
        """Let the reactor have its turns, and return whether it came so in time."""
        deadline = time.monotonic() + limit_s
        while not is_so() and time.monotonic() < deadline:
            self.turn()
        return bool(is_so())

    def read(self) -> bytes:
        """What the peer has by now."""
        data = b""
        try:
            while more := self.far.recv(1 << 20):
                data += more
        except BlockingIOError:
            pass
        return data

    def fill(self) -> int:
        """Send until the socket takes no more, and return how much it took."""
        sent = 0
        try:
            while True:
                sent += self.direct.send(MUCH)
        except BlockingIOError:
            return sent

    def drain(self, size: int) -> bytes:
        """Have the peer read so much, and not wait for ever."""
        data = bytearray()

        def has_all() -> bool:
            data.extend(self.read())
            return len(data) >= size

        assert self.until(has_all), f"{len(data)} of {size} bytes"
        return bytes(data)


@pytest.fixture(params=[False, True], ids=["reactor", "poller"])
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    line = Line(EPollReactor(), request.param)
    yield line
    line.far.close()
    line.transport.abortConnection()
    line.until(lambda: line.ears.lost)


# What Twisted is taken for


def test_what_a_transport_queues_is_where_it_is_looked_for(line: Line) -> None:
    transport = line.transport
    transport.write(MUCH)
    relied_on("FileDescriptor._tempDataBuffer, where write() queues", lambda: transport._tempDataBuffer == [MUCH])
    line.until(lambda: not transport._tempDataBuffer, 1.0)
    relied_on("FileDescriptor.dataBuffer, which has what is being written", lambda: transport.dataBuffer == MUCH)
    assert not line.direct.is_free()
    assert line.drain(len(MUCH)) == MUCH
    line.until(line.direct.is_free, 1.0)
    relied_on("FileDescriptor.dataBuffer, which is empty when all is written", lambda: transport.dataBuffer == b"")
    assert line.direct.is_free()


def test_a_connection_that_is_to_be_closed_says_so(line: Line) -> None:
    transport = line.transport
    relied_on("FileDescriptor.disconnecting, false before loseConnection()", lambda: not transport.disconnecting)
    transport.loseConnection()
    relied_on("FileDescriptor.disconnecting, true after loseConnection()", lambda: transport.disconnecting)
    assert not line.direct.is_free()


def test_a_connection_says_whether_there_is_one(line: Line) -> None:
    relied_on("FileDescriptor.connected, true while connected", lambda: line.transport.connected)
    line.far.close()
    line.until(lambda: line.ears.lost)
    relied_on("FileDescriptor.connected, false when lost", lambda: not line.transport.connected)


def test_a_writer_that_is_put_on_a_transport_is_the_one_that_is_called(line: Line) -> None:
    calls: list[int] = []

    def is_called() -> bool:
        line.transport.startWriting()
        return line.until(lambda: calls, 1.0)

    def is_called_no_more() -> bool:
        line.transport.stopWriting()
        calls.clear()
        return not line.until(lambda: calls, 0.02)

    line.transport.doWrite = lambda: calls.append(1)  # type: ignore[method-assign]
    relied_on("FileDescriptor.doWrite, looked up on the instance, or startWriting()", is_called)
    relied_on("FileDescriptor.stopWriting()", is_called_no_more)


def test_an_aborted_transport_has_a_writer_of_its_own(line: Line) -> None:
    line.direct.wait(lambda: False)
    ours = vars(line.transport).get("doWrite")
    line.transport.abortConnection()
    put = vars(line.transport).get("doWrite")
    relied_on("abortConnection(), which puts a writer in place of ours", lambda: put not in (None, ours))
    line.direct.stop_waiting()
    assert vars(line.transport).get("doWrite") is put
    relied_on("abortConnection(), which ends the connection a turn later", lambda: line.until(lambda: line.ears.lost))


def test_a_transport_asks_the_reactor_that_it_was_given() -> None:
    reactor = EPollReactor()
    line, poller = Line(reactor, is_polled=False), Poller(reactor)
    relied_on("FileDescriptor.reactor, which it is given", lambda: line.transport.reactor is reactor)
    poller.adopt(line.direct)

    def is_asked() -> bool:
        line.transport.stopReading()
        before = poller.getReaders()
        line.transport.startReading()
        return before == [] and poller.getReaders() == [line.transport] and line.transport not in reactor.getReaders()

    relied_on("FileDescriptor.reactor, which may become another, and is asked to read and write", is_asked)
    line.far.close()
    line.transport.abortConnection()
    line.until(lambda: line.ears.lost)


def test_no_more_is_read_at_once_than_is_asked_for(line: Line) -> None:
    set_read_bytes(line.transport, 10)
    line.far.send(b"a" * 25)
    line.until(lambda: sum(map(len, line.ears.heard)) == 25)
    relied_on("FileDescriptor.bufferSize, what is read at once", lambda: [*map(len, line.ears.heard)] == [10, 10, 5])


def test_a_transport_with_tls_is_not_taken_for_a_plain_one(line: Line) -> None:
    relied_on("Connection.TLS, false for a plain connection", lambda: not line.transport.TLS)
    line.transport.startTLS(optionsForClientTLS("example.org"), normal=False)
    relied_on("Connection.TLS, true after startTLS()", lambda: line.transport.TLS)
    assert DirectSocket.of(line.transport) is None
    assert DirectSocket.of(StringTransport()) is None


def test_twisted_is_one_of_the_versions_that_these_tests_have_seen() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    (bounds,) = re.findall(r"^twisted\S*>=([\d.]+),<([\d.]+)$", config["options"]["install_requires"], re.M)
    least, seen, below = (tuple(map(int, bound.split(".")[:2])) for bound in (bounds[0], TWISTED, bounds[1]))
    if not least <= seen < below:
        pytest.fail(f"Twisted {TWISTED} is none that setup.cfg allows: {bounds[0]} up to {bounds[1]}", pytrace=False)


# What is built on it


def test_what_is_sent_reaches_the_peer_in_order_and_a_full_socket_takes_the_rest_later(line: Line) -> None:
    memory = os.memfd_create("body")
    os.write(memory, MUCH)
    sent = [0]

    def rest() -> bool:
        try:
            sent[0] += line.direct.sendfile(memory, sent[0], len(MUCH) - sent[0])
        except BlockingIOError:
            return False
        if sent[0] == len(MUCH):
            line.direct.stop_waiting()
        return sent[0] == len(MUCH)

    assert line.direct.send(b"head", socket.MSG_MORE) == 4
    assert not rest()
    line.direct.wait(rest)
    assert line.direct.is_waiting and line.direct.is_free()
    assert line.drain(4 + len(MUCH)) == b"head" + MUCH
    assert not line.direct.is_waiting
    line.transport.write(b"the transport's own")
    assert line.drain(19) == b"the transport's own"
    os.close(memory)


def test_whoever_has_stopped_waiting_is_not_called(line: Line) -> None:
    calls: list[str] = []
    filled = line.fill()
    line.direct.wait(lambda: bool(calls.append("first")))
    line.direct.stop_waiting()
    line.direct.stop_waiting()
    assert len(line.drain(filled)) == filled
    assert calls == []
    line.direct.wait(lambda: bool(calls.append("second")))
    assert line.until(lambda: calls)
    assert set(calls) == {"second"}
    line.direct.stop_waiting()


@pytest.mark.parametrize("is_last", [True, False])
def test_a_connection_that_is_to_be_closed_is_when_all_is_sent_and_no_sooner(line: Line, is_last: bool) -> None:
    filled = line.fill()

    def writable() -> bool:
        line.direct.stop_waiting()
        return is_last

    line.direct.wait(writable)
    line.transport.loseConnection()
    line.turn()
    assert not line.ears.lost
    assert len(line.drain(filled)) == filled
    assert line.until(lambda: not line.direct.is_waiting)
    assert line.until(lambda: line.ears.lost, 5.0 if is_last else 0.05) is is_last


def test_a_lost_connection_ends_the_wait_in_silence(line: Line) -> None:
    line.fill()
    line.direct.wait(lambda: False)
    line.transport.abortConnection()
    assert line.until(lambda: line.ears.lost)
    line.direct.stop_waiting()
    assert not line.direct.is_waiting


# The fence

PRIVATE = {
    "_tempDataBuffer", "dataBuffer", "_tempDataLen", "_aborting", "_isSendBufferFull", "doWrite", "startWriting",
    "stopWriting", "disconnecting", "disconnected", "bufferSize", "TLS", "_networkProducer", "_waitingForTransport",
    "_doReadOrWrite", "_writes", "_reads", "_selectables", "_poller", "_disconnected", "_send100Continue",
}  # fmt: skip


def attributes(path: Path) -> set[str]:
    return {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}


def test_one_module_alone_knows_the_parts_of_twisteds_transports() -> None:
    users = {
        str(path.relative_to(ROOT)): known
        for path in sorted((ROOT / "livestream").rglob("*.py"))
        if (known := attributes(path) & PRIVATE)
    }
    assert list(users) == ["livestream/net/direct_socket.py"], users
