"""
The process of one hostile peer: it opens connections, sends what it is told to on each, and sees what becomes of them.

    python benchmarks/hostile_peer.py < ATTACK.pickle

It writes what it has seen as JSON. `benchmarks/hostile.py` runs it.
"""

from __future__ import annotations

import errno
import json
import math
import os
import pickle
import re
import select
import socket
import sys
import time
from collections import Counter, deque
from typing import Any

from attrs import define, field, frozen
from hostile_bytes import NUMBER
from rtmp_peers import raise_limits

POLL_S = 0.005
READ_BYTES = 1 << 16
MOST_AT_ONCE = 500
"""So many connections are opened, or pieces sent, before it looks at the others again."""
REFUSED_S = 0.5
NICE = 10
"""The viewers are measured on the same core, and go first."""
WORDS = re.compile(rb"HTTP/1\.[01] \d{3}|(?:NetStream|NetConnection)\.\w+\.\w+")
STATUS_BYTES = len(b"HTTP/1.1 200")
OPENING_BYTES = 1 << 12
CLOSED = select.EPOLLRDHUP
GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
CALM = frozenset((errno.EINPROGRESS, errno.EAGAIN))


@frozen
class Attack:
    """
    What a hostile peer does for ``seconds``, on ``connections`` at once, of which it opens ``connects_per_s``.

    On each it sends ``opening``, waits until ``awaited`` has come, and sends ``body``, so many ``times`` (for ever: 0),
    at ``bytes_per_s`` over all connections, in pieces of ``piece_bytes``. A connection ``leaves`` when what it awaits
    has come, and ``returns``, as another, when it has left or has been closed.
    """

    host: str
    port: int
    seconds: float
    connections: int = 1
    connects_per_s: float = math.inf
    opening: bytes = b""
    awaited: bytes = b""
    body: bytes = b""
    times: int = 1
    bytes_per_s: float = math.inf
    piece_bytes: int = 1 << 14
    reads: bool = True
    """Otherwise nothing is read once ``awaited`` has come."""
    receive_buffer_bytes: int = 0
    leaves: bool = False
    returns: bool = False
    source: str = "127.0.0.2"


@define(eq=False)
class Connection:
    """One connection of the peer's."""

    socket: socket.socket
    opened_s: float
    pending: memoryview
    """What is to be sent now."""
    times_left: float
    begun: bool = False
    """The opening has been sent and answered."""
    heard: bytes = b""
    """The last bytes that came, fewer than a status has."""
    opening: bytes = b""
    """The last bytes of what came before that."""
    interest: int = 0
    has_heard: bool = False


@define(eq=False)
class Peer:
    """Runs one attack."""

    attack: Attack
    opened: int = field(default=0, init=False)
    most_held: int = field(default=0, init=False)
    refused: int = field(default=0, init=False)
    """Connections that could not be made, or that the server closed within half a second and without a byte."""
    left: int = field(default=0, init=False)
    lives_s: list[float] = field(factory=list, init=False)
    """How long each of the connections lived that the server closed."""
    sent_bytes: int = field(default=0, init=False)
    answers: Counter[str] = field(factory=Counter, init=False)
    _held: dict[int, Connection] = field(factory=dict, init=False)
    _paced: deque[Connection] = field(factory=deque, init=False)
    _poll: select.epoll = field(factory=select.epoll, init=False)
    _tokens: float = field(default=0.0, init=False)
    _looked_s: float = field(default=0.0, init=False)

    def run(self) -> dict[str, Any]:
        """Attack until the time is over; return what was seen."""
        began_s = self._looked_s = time.monotonic()
        while (now := time.monotonic()) < began_s + self.attack.seconds:
            self._open_due(now - began_s)
            self._send_due(now)
            for fd, events in self._poll.poll(POLL_S):
                if (connection := self._held.get(fd)) is not None:
                    self._turn(connection, events)
        seen = {
            "began_s": began_s,
            "ended_s": time.monotonic(),
            "opened": self.opened,
            "most_held": self.most_held,
            "refused": self.refused,
            "left": self.left,
            "lives_s": sorted(self.lives_s),
            "held": len(self._held),
            "sent_bytes": self.sent_bytes,
            "answers": dict(self.answers.most_common(6)),
        }
        for connection in list(self._held.values()):
            connection.socket.close()
        return seen

    def _open_due(self, elapsed_s: float) -> None:
        attack = self.attack
        may_open = attack.connections - len(self._held) if attack.returns else attack.connections - self.opened
        due = MOST_AT_ONCE if attack.connects_per_s == math.inf else attack.connects_per_s * elapsed_s + 1 - self.opened
        for _ in range(int(max(min(may_open, due, MOST_AT_ONCE), 0))):
            self._open()

    def _open(self) -> None:
        attack = self.attack
        self.opened += 1
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # no TIME_WAIT of ours
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if attack.receive_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, attack.receive_buffer_bytes)
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind((attack.source, 0))
        if sock.connect_ex((attack.host, attack.port)) not in (0, *CALM):
            self.refused += 1
            sock.close()
            return
        opening = attack.opening.replace(NUMBER, b"%08d" % self.opened)
        times = attack.times or math.inf
        connection = Connection(sock, time.monotonic(), memoryview(opening), times if attack.body else 0)
        self._held[sock.fileno()] = connection
        self.most_held = max(self.most_held, len(self._held))
        connection.interest = CLOSED | select.EPOLLOUT | (select.EPOLLIN if attack.reads or attack.awaited else 0)
        self._poll.register(sock, connection.interest)

    def _turn(self, connection: Connection, events: int) -> None:
        try:
            is_there = self._read(connection) if events & select.EPOLLIN else not events & GONE
            if not is_there:
                self._lost(connection)
            elif events & select.EPOLLOUT and connection.socket.fileno() >= 0:
                self._write(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._lost(connection)

    def _read(self, connection: Connection) -> bool:
        """Read some; return whether the connection is still there."""
        data = connection.socket.recv(READ_BYTES)
        if not data:
            return False
        connection.has_heard = True
        heard = connection.heard + data
        connection.heard = heard[-(STATUS_BYTES - 1) :]
        self.answers.update(word.decode() for word in WORDS.findall(heard))
        if connection.begun:
            return True
        connection.opening = (connection.opening + data)[-OPENING_BYTES:]
        if self.attack.awaited in connection.opening and not connection.pending:
            if self.attack.leaves:
                self.left += 1
                self._forget(connection)
            else:
                self._begin(connection)
        return True

    def _write(self, connection: Connection) -> None:
        """Send what is pending, and find what comes next when that has gone."""
        if connection.pending:
            sent = connection.socket.send(connection.pending)
            self.sent_bytes += sent
            connection.pending = connection.pending[sent:]
        if connection.pending:
            return
        if not connection.begun and not self.attack.awaited:
            self._begin(connection)
        elif connection.begun and connection.times_left:
            self._next_body(connection)
        else:
            self._want(connection, connection.interest & ~select.EPOLLOUT)

    def _begin(self, connection: Connection) -> None:
        connection.begun = True
        reading = select.EPOLLIN if self.attack.reads else 0
        if not connection.times_left:
            self._want(connection, CLOSED | reading)
        elif self.attack.bytes_per_s < math.inf:
            self._next_body(connection)
            self._paced.append(connection)
            self._want(connection, CLOSED | reading)
        else:
            self._next_body(connection)
            self._want(connection, CLOSED | reading | select.EPOLLOUT)

    def _next_body(self, connection: Connection) -> None:
        connection.times_left -= 1
        connection.pending = memoryview(self.attack.body)

    def _send_due(self, now: float) -> None:
        """Send the bodies that have a pace: a piece on one connection after the other."""
        attack = self.attack
        elapsed_s, self._looked_s = now - self._looked_s, now
        if attack.bytes_per_s == math.inf or not self._paced:
            return
        most = max(attack.bytes_per_s * 0.25, attack.piece_bytes)
        self._tokens = min(self._tokens + elapsed_s * attack.bytes_per_s, most)
        for _ in range(min(int(self._tokens / attack.piece_bytes), MOST_AT_ONCE)):
            connection = self._paced.popleft() if self._paced else None
            if connection is None:
                break
            if connection.socket.fileno() >= 0:
                self._send_piece(connection)

    def _send_piece(self, connection: Connection) -> None:
        try:
            sent = connection.socket.send(connection.pending[: self.attack.piece_bytes])
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lost(connection)
            return
        self._tokens -= sent
        self.sent_bytes += sent
        connection.pending = connection.pending[sent:]
        if not connection.pending and connection.times_left:
            self._next_body(connection)
        if connection.pending:
            self._paced.append(connection)

    def _want(self, connection: Connection, interest: int) -> None:
        if interest != connection.interest:
            connection.interest = interest
            self._poll.modify(connection.socket, interest)

    def _lost(self, connection: Connection) -> None:
        lived_s = time.monotonic() - connection.opened_s
        if connection.has_heard or lived_s > REFUSED_S:
            self.lives_s.append(lived_s)
        else:
            self.refused += 1
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        if self._held.pop(connection.socket.fileno(), None) is not None:
            connection.socket.close()


def main() -> None:
    raise_limits()
    os.nice(NICE)
    attack = pickle.load(sys.stdin.buffer)
    json.dump(Peer(attack).run(), sys.stdout)


if __name__ == "__main__":
    main()
