"""
Responses: the status, header and body that a request gets, made from a representation of what it names (RFC 9110).

Both the fast path and Klein's routes have their responses made here and only here; they differ in how the bytes reach
the socket.
"""

from __future__ import annotations

import email.utils
from functools import cached_property

from attrs import define, evolve, field, frozen

from livestream.http.conditions import Conditions, Outcome, select
from livestream.http.preflight import allowed_headers
from livestream.net.body import FIRST_BYTES, Body

Field = tuple[bytes, bytes]

EXPOSED = b"Age, Date, ETag, Content-Length, Content-Range, Cache-Status"
SHARED: tuple[Field, ...] = (
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Access-Control-Expose-Headers", EXPOSED),
    (b"Timing-Allow-Origin", b"*"),
    (b"X-Content-Type-Options", b"nosniff"),
)
"""In every response: anyone's page may read it, without credentials, and see what the cache did."""

PRIVATE: tuple[Field, ...] = ((b"X-Content-Type-Options", b"nosniff"),)
"""In every response to an operator: no page of another site may read it."""

CLOSE: Field = (b"Connection", b"close")


@frozen
class Representation:
    """
    What a name stands for at this moment.

    ``etag`` is the quoted strong validator; ``stored_at`` is the wall clock when the bytes came into this cache, and is
    ``None`` for what is made here. ``cache_status`` is the whole field (RFC 9211). Requests for it are counted as of
    this ``kind`` and ``outcome``.
    """

    kind: str
    media_type: bytes
    body: Body
    size: int
    etag: bytes
    cache_control: bytes
    cache_status: bytes
    outcome: str
    stored_at: float | None = None
    encoding: bytes = b""
    varies: bool = False


@frozen
class Response:
    """
    A status, header fields in the order they are sent, and the bytes of ``body`` from ``start`` to ``stop``.

    ``body`` may still be growing. It is ``None`` where no body is sent, even if a Content-Length is (HEAD). What has no
    ``kind`` is not counted.
    """

    status: str
    fields: tuple[Field, ...]
    kind: str
    outcome: str
    body: Body | None = None
    start: int = 0
    stop: int = 0

    @property
    def code(self) -> int:
        return int(self.status[:3])

    @cached_property
    def is_last(self) -> bool:
        """Whether the connection is closed after it."""
        return CLOSE in self.fields

    @property
    def length(self) -> int:
        """How many bytes of body are sent."""
        return self.stop - self.start if self.body is not None else 0

    def read(self) -> bytes:
        """The bytes of the body, for one that is small and whole."""
        return b"" if self.body is None else self.body.read(self.start, self.stop)

    def without_body(self) -> Response:
        """The response to a HEAD of the same."""
        return evolve(self, body=None)

    @cached_property
    def opening(self) -> bytes:
        """The head and what there is of the first bytes of the body, once for all who get this same response."""
        return self.head() + self.opened

    @cached_property
    def opened(self) -> bytes:
        """The bytes of the body that are part of the opening."""
        return b"" if self.body is None else self.body.read(self.start, min(self.stop, self.start + FIRST_BYTES))

    def head(self) -> bytes:
        """The status line and header of an HTTP/1.1 response, with the empty line."""
        lines = [b"HTTP/1.1 ", self.status.encode("ascii"), b"\r\n"]
        for name, value in self.fields:
            lines += (name, b": ", value, b"\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)


@define(eq=False)
class ResponseFactory:
    """
    Makes responses. ``node`` is this cache's name in Cache-Status; times are Unix times in seconds.

    ``shared`` are the fields that every response has.
    """

    node: str
    shared: tuple[Field, ...] = SHARED
    are_last: bool = field(default=False, init=False)
    _shared: tuple[Field, ...] = field(init=False)
    _second: int = field(default=-1, init=False)
    _date: bytes = field(default=b"", init=False)

    def __attrs_post_init__(self) -> None:
        self._shared = self.shared

    def close_after_response(self) -> None:
        """From here on every connection is closed after its next response, which says so."""
        self.are_last, self._shared = True, (*self.shared, CLOSE)

    def date(self, now: float) -> bytes:
        """The Date field of this second."""
        second = int(now)
        if second != self._second:
            self._second, self._date = second, email.utils.formatdate(second, usegmt=True).encode("ascii")
        return self._date

    def cache_status(self, outcome: str) -> bytes:
        """The Cache-Status field for an object that was had in this way (``hit``, ``miss`` or ``collapsed``)."""
        handling = {"hit": "hit", "miss": "fwd=miss", "collapsed": "fwd=miss; collapsed"}[outcome]
        return f"{self.node}; {handling}".encode("ascii")

    def found(self, representation: Representation, conditions: Conditions, now: float) -> Response:
        """The response to a GET of a representation."""
        selection = select(conditions, representation.etag, representation.size)
        if selection.outcome is Outcome.UNSATISFIABLE:
            return self._unsatisfiable(representation, now)
        fields: list[Field] = [(b"Date", self.date(now))]
        if selection.outcome is not Outcome.UNCHANGED:
            fields += self._measures(representation, selection.outcome, selection.start, selection.stop)
        fields += ((b"Cache-Control", representation.cache_control), (b"ETag", representation.etag))
        if representation.stored_at is not None:
            fields.append((b"Age", b"%d" % max(int(now) - int(representation.stored_at), 0)))
        fields.append((b"Cache-Status", representation.cache_status))
        if representation.varies:
            fields.append((b"Vary", b"Accept-Encoding"))
        status, shared = selection.outcome.value, (*fields, *self._shared)
        if selection.outcome is Outcome.UNCHANGED:
            return Response(status, shared, representation.kind, "not_modified")
        return Response(
            status,
            shared,
            representation.kind,
            representation.outcome,
            representation.body,
            selection.start,
            selection.stop,
        )

    def error(self, status: str, now: float, kind: str = "", *extra: Field) -> Response:
        """An error that nobody may keep: what is missing or failing now may be there in a moment."""
        text = status.encode("ascii") + b"\n"
        fields = (
            (b"Date", self.date(now)),
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Content-Length", b"%d" % len(text)),
            (b"Cache-Control", b"no-store"),
            *extra,
            *self._shared,
        )
        return Response(status, fields, kind, "error", Body.whole(text), 0, len(text))

    def options(self, now: float, requested: bytes = b"") -> Response:
        """The response to a preflight, which asks for these header names."""
        fields = (
            (b"Date", self.date(now)),
            (b"Allow", b"GET, HEAD, OPTIONS"),
            (b"Access-Control-Allow-Methods", b"GET, HEAD, OPTIONS"),
            (b"Access-Control-Allow-Headers", allowed_headers(requested)),
            (b"Access-Control-Max-Age", b"86400"),
            (b"Vary", b"Access-Control-Request-Headers"),
            *self._shared,
        )
        return Response("204 No Content", fields, "", "")

    def redirect(self, location: str, now: float, kind: str) -> Response:
        """A redirect for this one request."""
        fields = (
            (b"Date", self.date(now)),
            (b"Location", location.encode("ascii")),
            (b"Content-Length", b"0"),
            (b"Cache-Control", b"no-store"),
            *self._shared,
        )
        return Response("302 Found", fields, kind, "redirected")

    def document(
        self,
        text: bytes,
        media_type: bytes,
        now: float,
        kind: str = "",
        status: str = "200 OK",
        *extra: Field,
    ) -> Response:
        """A document that holds only now, such as the state that a downstream node asks for."""
        fields = (
            (b"Date", self.date(now)),
            (b"Content-Type", media_type),
            (b"Content-Length", b"%d" % len(text)),
            (b"Cache-Control", b"no-store"),
            *extra,
            *self._shared,
        )
        return Response(status, fields, kind, "generated", Body.whole(text), 0, len(text))

    def _measures(self, representation: Representation, outcome: Outcome, start: int, stop: int) -> list[Field]:
        fields = [(b"Content-Type", representation.media_type), (b"Content-Length", b"%d" % (stop - start))]
        if outcome is Outcome.PART:
            fields.append((b"Content-Range", b"bytes %d-%d/%d" % (start, stop - 1, representation.size)))
        fields.append((b"Accept-Ranges", b"bytes"))
        if representation.encoding:
            fields.append((b"Content-Encoding", representation.encoding))
        return fields

    def _unsatisfiable(self, representation: Representation, now: float) -> Response:
        size = (b"Content-Range", b"bytes */%d" % representation.size)
        return self.error(Outcome.UNSATISFIABLE.value, now, representation.kind, size)
