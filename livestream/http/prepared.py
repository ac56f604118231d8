"""
Responses that are prepared: the bytes for the socket, found again by the bytes of a request that was seen before.

A player sends the same header block with every request, and thousands of players send the same request line for the
same object within a second. So both are kept as raw bytes, and a request that has been seen before costs two dictionary
lookups. What is prepared holds for one second, since Date and Age are in it: nothing that was dropped or changed
elsewhere is sent for longer than that, and what :meth:`PreparedResponses.invalidate` names is not sent again. A header
block is read anew twice a minute, since the signature of another node may be in it, and they expire just then.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred

from livestream.http.access_log import entry
from livestream.http.conditions import Conditions
from livestream.http.counters import RequestCounter, RequestCounters
from livestream.http.head import Head
from livestream.http.response import Response, ResponseFactory
from livestream.net.body import Body
from livestream.net.direct_socket import DirectSocket
from livestream.signing import SAME_S

SMALL_BYTES = 8192
"""A body up to this size is sent from one ``bytes`` with its header; a larger one with ``sendfile``."""

BLOCKS = 1024
BLOCK_BYTES = 2048
"""How many header blocks are remembered, and how long each may be."""


@frozen
class Ready:
    """
    A response that can be sent now: prepared bytes, then ``body``, if there is one, from ``start`` to ``stop``.

    ``log_entry`` is its line in the access log, and empty for one that is of no request line (see `logged_for`). The
    connection is closed after one that ``is_last``.
    """

    data: bytes
    flags: int
    body: Body | None
    fd: int
    start: int
    stop: int
    total: int
    counter: RequestCounter
    body_bytes: int
    log_entry: bytes
    is_last: bool

    def send(self, direct: DirectSocket) -> int:
        """
        Give the socket what it takes at once, and return how many bytes that was.

        :raises OSError: the connection is broken.
        """
        sent = 0
        try:
            sent = direct.send(self.data, self.flags)
            if self.body is not None and sent == len(self.data):
                sent += direct.sendfile(self.fd, self.start, self.stop - self.start)
        except BlockingIOError:
            pass
        return sent

    def logged_for(self, line: bytes) -> Ready:
        """The same response as that to a request line."""
        return evolve(self, log_entry=entry(line, int(self.data[9:12]), self.body_bytes, self.counter.outcome))


Later = Callable[[], "Deferred[Response]"]
"""Begins to wait for a response. It may be cancelled, and fails only then."""


class FastPath(Protocol):
    """Answers requests ahead of a site's resource."""

    @property
    def prepared(self) -> PreparedResponses:
        """The responses to requests that were seen before, which are asked first."""

    def answer(self, head: Head, data: bytes, peer: str) -> Ready | Later | None:
        """
        The response to ``data`` of ``peer``, whose head this is, or what has to be waited for; ``None``: the resource
        is to answer.
        """


class Ending(Enum):
    """Whether a connection ends with a response: the version of that, and what its header has to say so."""

    KEEP_ALIVE = b"HTTP/1.1", b""
    CLOSE = b"HTTP/1.1", b"Connection: close\r\n"
    HTTP_1_0 = b"HTTP/1.0", b""

    @classmethod
    def of(cls, head: Head) -> Ending | None:
        """The one that Twisted gives the response to a request; ``None`` where that takes more than a look."""
        if head.minor == 0:
            return cls.HTTP_1_0
        connection = head.fields.get(b"connection", b"").lower()
        if b"close" not in connection:
            return cls.KEEP_ALIVE
        return cls.CLOSE if connection == b"close" else None


_Lines = dict[bytes, Ready]


@define(eq=False)
class PreparedResponses:
    """Prepares the responses that ``responses`` makes, and keeps them by raw request. ``seconds`` is the wall clock."""

    responses: ResponseFactory
    counters: RequestCounters
    seconds: Callable[[], float]
    _plain: _Lines = field(factory=dict, init=False)
    _gzip: _Lines = field(factory=dict, init=False)
    _blocks: dict[bytes, _Lines] = field(factory=dict, init=False)
    _groups: dict[str, list[bytes]] = field(factory=dict, init=False)
    _errors: dict[tuple[str, str, bool, Ending], Ready] = field(factory=dict, init=False)
    _from: float = field(default=0.0, init=False)
    _until: float = field(default=0.0, init=False)
    _period: int = field(default=-1, init=False)

    def find(self, data: bytes) -> Ready | None:
        """The response to ``data``, if that is exactly one request and both its parts have been seen before."""
        if not self._from <= self.seconds() < self._until:
            self._expire()
        line, _, block = data.partition(b"\r\n")
        lines = self._blocks.get(block)
        return None if lines is None else lines.get(line)

    def prepare(self, response: Response, line: bytes) -> Ready | None:
        """Prepare the response to a request line; ``None`` if it is one that is not counted, or not all here yet."""
        body, length = response.body, response.length
        data = response.head()
        if not response.kind or (body is not None and body.received < response.stop):
            return None
        counter = self.counters.counter(response.kind, response.outcome)
        logged = entry(line, response.code, length, response.outcome)
        if body is None or length <= SMALL_BYTES:
            data += response.read()
            return Ready(data, 0, None, -1, 0, 0, len(data), counter, length, logged, response.is_last)
        if body.fd is None:
            return None
        total = len(data) + length
        fd, start, stop = body.fd, response.start, response.stop
        return Ready(data, socket.MSG_MORE, body, fd, start, stop, total, counter, length, logged, response.is_last)

    def keep(self, ready: Ready, line: bytes, block: bytes, conditions: Conditions, group: str = "") -> None:
        """
        Keep the response to a request in these bytes, with these conditions, for the next who sends them.

        Nothing is kept of a request that is not plain, nor of a line with a query, of which there may be any number.
        """
        if not conditions.is_plain:
            return
        lines = self._gzip if conditions.gzip else self._plain
        if len(block) <= BLOCK_BYTES:
            if len(self._blocks) >= BLOCKS:
                self._blocks.clear()
            self._blocks[block] = lines
        if b"?" not in line:
            lines[line] = ready
            if group:
                self._groups.setdefault(group, []).append(line)

    def error(self, status: str, kind: str, *, is_head: bool, ending: Ending) -> Ready:
        """
        An error, such as ``404 Not Found``, to a request for something of ``kind``.

        It is the same whatever the name: anybody can make names up, so that nothing is kept of them.
        """
        key = status, kind, is_head, ending
        return self._errors.get(key) or self._prepare_error(*key)

    def _prepare_error(self, status: str, kind: str, is_head: bool, ending: Ending) -> Ready:
        extra = [(b"Retry-After", b"1")] if status.startswith("503") else []
        response = self.responses.error(status, self.seconds(), kind, *extra)
        ready = self.prepare(response.without_body() if is_head else response, b"")
        assert ready is not None
        ready = evolve(ready, log_entry=b"")
        if ending is not Ending.KEEP_ALIVE:
            version, closing = ending.value
            line, _, rest = ready.data.partition(b"\r\n")
            data = b"%b%b\r\n%b%b" % (version, line[8:], closing, rest)
            ready = evolve(ready, data=data, total=len(data), is_last=True)
        self._errors[status, kind, is_head, ending] = ready
        return ready

    def invalidate(self, group: str) -> None:
        """Drop the responses that were kept as of this group."""
        for line in self._groups.pop(group, ()):
            self._plain.pop(line, None)
            self._gzip.pop(line, None)

    def invalidate_all(self) -> None:
        """Drop all responses before the next request."""
        self._until = 0.0

    def _expire(self) -> None:
        """Another second: what was prepared is out of date."""
        self._from = float(int(self.seconds()))
        self._until = self._from + 1
        self._plain.clear()
        self._gzip.clear()
        self._errors.clear()
        self._groups.clear()
        period = int(self._from) // SAME_S
        if period != self._period:
            self._period = period
            self._blocks.clear()


def is_ordinary(head: Head) -> bool:
    """Whether a request can have a prepared response: a GET or HEAD, after which the connection goes on as it is."""
    return (
        head.method in (b"GET", b"HEAD")
        and head.minor == 1
        and head.fields.get(b"connection", b"keep-alive").lower() == b"keep-alive"
        and b"upgrade" not in head.fields
        and b"expect" not in head.fields
    )
