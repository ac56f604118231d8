"""A site and its clients on real loopback sockets, in step with the test: no reactor runs, and no time passes."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from socket import socket as Socket

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address
from twisted.internet.tcp import Server

from livestream.http.connection import HttpConnection
from livestream.http.site import HttpSite
from tests.net.loop import Loop

IN_FLIGHT_S = 2.0
"""So long a test waits for bytes that the kernel has not delivered yet."""


@frozen
class Response:
    """One answer as it came, and in parts."""

    raw: bytes
    status: int
    fields: dict[str, str]
    body: bytes


@frozen
class _Counts:
    """What the kernel has counted of a socket: bytes that it sent, those that it holds back, and those it received."""

    sent: int
    unsent: int
    received: int


def _counts(connection: socket.socket) -> _Counts:
    """Read them from ``struct tcp_info`` (linux/tcp.h)."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 216)
    (received,) = struct.unpack_from("=Q", info, 128)
    (unsent,) = struct.unpack_from("=I", info, 144)
    sent, sent_again = struct.unpack_from("=QQ", info, 200)
    return _Counts(sent - sent_again, unsent, received)


@define(eq=False)
class Client:
    """The other end of one connection to a site."""

    loop: Loop
    socket: Socket
    channel: HttpConnection
    accepted: Socket
    received: bytearray = field(factory=bytearray)
    is_closed: bool = False

    def send(self, data: bytes) -> None:
        """Send and let the server do what it can."""
        view = memoryview(data)
        while view and not self.is_closed:
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                pass
            except OSError:
                self.is_closed = True
            if not self.step() and view:
                return

    def step(self) -> bool:
        """Let the server have a turn, and read what came of it; return whether anything happened."""
        moved = self.loop.turn()
        try:
            data = self.socket.recv(1 << 20)
            self.received += data
            self.is_closed = self.is_closed or not data
            moved = moved or bool(data)
        except BlockingIOError:
            pass
        except OSError:
            self.is_closed = True
        return moved

    def settle(self) -> bytes:
        """Go on until nothing happens any more, and return all that has been received."""
        deadline = time.monotonic() + IN_FLIGHT_S
        while self.step() or (self._is_in_flight() and time.monotonic() < deadline):
            pass
        return bytes(self.received)

    def _is_in_flight(self) -> bool:
        """Whether the kernel, which on a busy machine does not deliver at once, has bytes for one of the two ends."""
        if self.accepted.fileno() < 0 or self.is_closed:
            return self.accepted.fileno() < 0 and not self.is_closed
        here, there = _counts(self.socket), _counts(self.accepted)
        if not (there.unsent or there.sent > here.received or here.sent > there.received):
            return False
        select.select([self.socket], [], [], 0.001)
        return True

    def ask(self, path: str, *fields: str, method: str = "GET") -> Response:
        """Send one request and return the answer to it."""
        self.received.clear()
        self.send(request(path, *fields, method=method))
        (response,) = responses(self.settle(), [method])
        return response


def connect(site: HttpSite, loop: Loop, receive_bytes: int = 0, address: str = "127.0.0.1") -> Client | None:
    """
    A client that the site has let in, if it has. With ``receive_bytes`` its receive buffer is that small; to the site
    it seems to come from ``address``.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receive_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.connect(listener.getsockname())
    accepted, peer = listener.accept()
    listener.close()
    client.setblocking(False)
    channel = site.buildProtocol(IPv4Address("TCP", address, peer[1]))
    if channel is None:
        accepted.close()
        client.close()
        return None
    transport = Server(accepted, channel, peer, None, 1, loop)
    channel.makeConnection(transport)
    return Client(loop, client, channel, accepted)


def request(path: str, *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: edge", *fields, "", ""]).encode("latin-1")


def responses(data: bytes, methods: list[str]) -> list[Response]:
    """Take the answers to requests with these methods apart; nothing may be left over."""
    found = []
    for method in methods:
        head, _, rest = data.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        fields = {name: value for name, _, value in (text.partition(": ") for text in lines)}
        status = int(line.split(" ")[1])
        has_body = method != "HEAD" and status not in (204, 304)
        length = int(fields["Content-Length"]) if has_body else 0
        assert len(rest) >= length, f"{len(rest)} of {length} bytes"
        found.append(Response(head + b"\r\n\r\n" + rest[:length], status, fields, rest[:length]))
        data = rest[length:]
    assert not data, data[:200]
    return found


def wait_until(client: Client, condition: Callable[[], bool]) -> None:
    while not condition():
        assert client.step(), "nothing happens any more"
