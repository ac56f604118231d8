"""
The hot path: the plain request for something under ``/live/``, answered without Twisted's request and Klein.

A player sends the same header block with every request, and thousands of players send the same request line for the
same object within a second. So both are kept as raw bytes, each with what it comes to: a request that has been seen
before costs two dictionary look-ups, and its answer, header included, is ready to be sent. What is prepared holds for
one second, since Date and Age are in it, and is made again from the contents; so nothing that was dropped or changed is
sent for longer than that, and a playlist not for an instant. A header block is read anew twice a minute, since the
signature of another node may be in it, and they expire just then. Who has to wait for an object is parked at the cost
of a Deferred, and answered with its first bytes: when a herd of them waits, that is what takes the time.

What is not there is answered here too, and from one prepared answer whatever its name: anybody can make names up, so
that nothing is kept of them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred

from livestream.hls.lookup import Service, Wanted
from livestream.hls.paths import Kind, Target, parse_path
from livestream.hls.steering import Steer
from livestream.http.access_log import entry
from livestream.http.conditions import Conditions
from livestream.http.counters import Tallies, Tally
from livestream.http.head import Head
from livestream.http.response import Answer
from livestream.net.body import Body
from livestream.net.log_summary import LogSummary
from livestream.push.feed import CannotTell, NotLive
from livestream.signing import SAME_S

SMALL_BYTES = 8192
"""A body up to this size is sent from one ``bytes`` with its header; a larger one with ``sendfile``."""

BLOCKS = 1024
BLOCK_BYTES = 2048
"""How many header blocks are remembered, and how long each may be."""

PASSED_OVER = frozenset((b"upgrade", b"expect"))


@frozen
class Ready:
    """
    An answer that can be sent now: prepared bytes, then ``body``, if there is one, from ``start`` to ``stop``.

    ``said`` is what the access log says of it. The connection is closed after one that ``is_last``.
    """

    data: bytes
    flags: int
    body: Body | None
    fd: int
    start: int
    stop: int
    total: int
    tally: Tally
    body_bytes: int
    said: bytes
    is_last: bool

    def send(self, connection: socket.socket) -> int:
        """
        Give the socket what it takes at once, and return how many bytes that was.

        :raises OSError: the connection is broken.
        """
        sent = 0
        try:
            sent = connection.send(self.data, self.flags)
            if self.body is not None and sent == len(self.data):
                sent += os.sendfile(connection.fileno(), self.fd, self.start, self.stop - self.start)
        except BlockingIOError:
            pass
        return sent


class End(Enum):
    """Whether a request is the last of its connection: the version of the answer, and what its header has for that."""

    NONE = b"HTTP/1.1", b""
    CLOSE = b"HTTP/1.1", b"Connection: close\r\n"
    OLD = b"HTTP/1.0", b""


@frozen
class _Absent:
    """An answer for what is not there, with its status."""

    code: int
    ready: Ready


class Push(Protocol):
    """Who lets viewers of FLV in."""

    def refusal(self, stream: str, query: bytes) -> NotLive | None:
        """Why a request with this query is refused at once; ``None`` where it may be let in."""


Lines = dict[bytes, Ready]


@define(eq=False)
class HotPath:
    """
    Prepared answers by raw request. ``seconds`` is the wall clock.

    Without ``push``, Klein answers all requests for FLV. Requests for streams that are not live go into ``refused``.
    """

    service: Service
    tallies: Tallies
    seconds: Callable[[], float]
    steer: Steer | None = None
    push: Push | None = None
    refused: LogSummary | None = None
    _plain: Lines = field(factory=dict, init=False)
    _zipped: Lines = field(factory=dict, init=False)
    _absents: dict[tuple[Kind, str, bool, End], _Absent] = field(factory=dict, init=False)
    _blocks: dict[bytes, Lines] = field(factory=dict, init=False)
    _playlists: dict[str, list[bytes]] = field(factory=dict, init=False)
    _from: float = field(default=0.0, init=False)
    _until: float = field(default=0.0, init=False)
    _period: int = field(default=-1, init=False)

    def __attrs_post_init__(self) -> None:
        self.service.playlists.on_change.append(self._changed)

    def find(self, data: bytes) -> Ready | None:
        """The answer to ``data``, if that is exactly one request and both its parts have been seen before."""
        if not self._from <= self.seconds() < self._until:
            self._turn()
        line, _, block = data.partition(b"\r\n")
        lines = self._blocks.get(block)
        return None if lines is None else lines.get(line)

    def take(self, head: Head, data: bytes, peer: str, *, is_logged: bool) -> Ready | Wanted | None:
        """
        The answer to ``data``, whose head this is; what is wanted where that has to be waited for; or ``None`` for what
        Klein answers. With ``is_logged`` the answer has what the access log says of it.
        """
        target = parse_path(head.path) if head.method in (b"GET", b"HEAD") else None
        if target is None:
            return self._steered(head, data, peer)
        wanted = None
        if target.kind is not Kind.FLV and _is_ordinary(head):
            wanted = Wanted(target, Conditions.of(head.fields), head.method == b"HEAD")
            ready = self._prepare(wanted, data)
            if ready is not None:
                return ready
        absent = self._absent(target, head, peer)
        if absent is not None and is_logged:
            line = data.partition(b"\r\n")[0]
            return evolve(absent.ready, said=entry(line, absent.code, absent.ready.body_bytes, "error"))
        return wanted if absent is None else absent.ready

    def _prepare(self, wanted: Wanted, head: bytes) -> Ready | None:
        """The answer, if it is ready; if the request is plain, it is kept for the next who asks in these bytes."""
        answer = self.service.ready(wanted)
        line, _, block = head.partition(b"\r\n")
        ready = None if answer is None else self._ready(answer, line)
        if ready is not None and wanted.conditions.is_plain:
            lines = self._zipped if wanted.conditions.gzip else self._plain
            self._remember(block, lines)
            if b"?" not in line:
                lines[line] = ready
                if not wanted.target.name:
                    self._playlists.setdefault(wanted.target.stream, []).append(line)
        return ready

    def _absent(self, target: Target, head: Head, peer: str) -> _Absent | None:
        """The answer for what is nowhere, as far as is known here; ``None`` for all else."""
        end, status = _end(head), "404 Not Found"
        if end is None or (end is not End.NONE and self.service.answers.are_last):
            return None
        if target.kind is Kind.FLV:
            refusal = None if self.push is None else self.push.refusal(target.stream, head.target.partition(b"?")[2])
            if refusal is None:
                return None
            if isinstance(refusal, CannotTell):
                status = "503 Service Unavailable"
        elif not self.service.is_absent(target):
            return None
        if self.refused is not None and (target.kind is Kind.FLV or not self.service.is_stream(target.stream)):
            self.refused.note(what=f"'{target.stream}'", peer=peer)
        key = target.kind, status, head.method == b"HEAD", end
        return self._absents.get(key) or self._prepare_absent(*key)

    def _prepare_absent(self, kind: Kind, status: str, is_head: bool, end: End) -> _Absent:
        extra = [(b"Retry-After", b"1")] if status.startswith("503") else []
        answer = self.service.answers.error(status, self.seconds(), kind, *extra)
        ready = self._ready(answer.without_body() if is_head else answer, b"")
        assert ready is not None
        if end is not End.NONE:
            line, _, rest = ready.data.partition(b"\r\n")
            data = b"%b%b\r\n%b%b" % (end.value[0], line[8:], end.value[1], rest)
            ready = evolve(ready, data=data, total=len(data), is_last=True)
        absent = self._absents[kind, status, is_head, end] = _Absent(answer.code, ready)
        return absent

    def _steered(self, head: Head, data: bytes, peer: str) -> Ready | None:
        """The answer to ``peer`` if it asks which edge to use: one that holds for it alone, and is not kept."""
        if self.steer is None or not _is_ordinary(head):
            return None
        answer = self.steer.answer(head.method, head.target, head.fields.get(b"x-forwarded-for", b""), peer)
        if answer is None:
            return None
        line = data.partition(b"\r\n")[0]
        return self._ready(answer.without_body() if head.method == b"HEAD" else answer, line)

    def answer(self, wanted: Wanted) -> Deferred[Answer]:
        """The answer to one who has to wait. It may be cancelled, and fails only then."""
        return self.service.answer(wanted)

    def _ready(self, answer: Answer, line: bytes) -> Ready | None:
        body, length = answer.body, answer.length
        data = answer.head()
        if not answer.kind or (body is not None and body.received < answer.stop):
            return None
        tally = self.tallies.tally(answer.kind, answer.outcome)
        said = entry(line, answer.code, length, answer.outcome)
        if body is None or length <= SMALL_BYTES:
            data += answer.read()
            return Ready(data, 0, None, -1, 0, 0, len(data), tally, length, said, answer.is_last)
        if body.fd is None:
            return None
        total = len(data) + length
        fd, start, stop = body.fd, answer.start, answer.stop
        return Ready(data, socket.MSG_MORE, body, fd, start, stop, total, tally, length, said, answer.is_last)

    def _remember(self, block: bytes, lines: Lines) -> None:
        if len(block) <= BLOCK_BYTES:
            if len(self._blocks) >= BLOCKS:
                self._blocks.clear()
            self._blocks[block] = lines

    def forget(self) -> None:
        """What was prepared is right no more."""
        self._until = 0.0

    def _turn(self) -> None:
        """Another second: what was prepared is out of date."""
        self._from = float(int(self.seconds()))
        self._until = self._from + 1
        self._plain.clear()
        self._zipped.clear()
        self._absents.clear()
        self._playlists.clear()
        period = int(self._from) // SAME_S
        if period != self._period:
            self._period = period
            self._blocks.clear()

    def _changed(self, stream: str) -> None:
        for line in self._playlists.pop(stream, ()):
            self._plain.pop(line, None)
            self._zipped.pop(line, None)


def _is_ordinary(head: Head) -> bool:
    return (
        head.method in (b"GET", b"HEAD")
        and head.minor == 1
        and head.fields.get(b"connection", b"keep-alive").lower() == b"keep-alive"
        and not head.fields.keys() & PASSED_OVER
    )


def _end(head: Head) -> End | None:
    """As Twisted reads it; ``None`` where that takes more than a look."""
    if head.minor == 0:
        return End.OLD
    connection = head.fields.get(b"connection", b"").lower()
    if b"close" not in connection:
        return End.NONE
    return End.CLOSE if connection == b"close" else None
