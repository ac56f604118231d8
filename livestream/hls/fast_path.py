"""
The fast path of HLS: plain requests under ``/live/`` are answered without Twisted's request and Klein.

What is ready is prepared as bytes, and found by them when the same request comes again (`livestream.http.prepared`); a
playlist is dropped there in the instant in which its stream changes. Who has to wait for an object costs a Deferred,
and is answered with its first bytes: when a herd of them waits, that is what takes the time. What is not there is
answered here too, from one prepared response for all names.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

from attrs import define
from twisted.internet.defer import succeed

from livestream.hls.lookup import Lookup, MediaRequest
from livestream.hls.paths import Kind, Target, parse_path
from livestream.hls.steering import Steering
from livestream.http.conditions import Conditions
from livestream.http.head import Head
from livestream.http.prepared import Ending, Later, PreparedResponses, Ready, is_ordinary
from livestream.http.response import Representation
from livestream.net.log_summary import LogSummary


class Push(Protocol):
    """Who lets viewers of FLV in."""

    def refusal(self, stream: str, query: bytes) -> str | None:
        """The status with which a request with this query is refused at once; ``None`` where it may be let in."""


@define(eq=False)
class HlsFastPath:
    """
    Answers ahead of Klein (a `livestream.http.prepared.FastPath`).

    Without ``push``, Klein answers all requests for FLV. Requests for streams that are not live go into ``refused``.
    """

    lookup: Lookup
    prepared: PreparedResponses
    steering: Steering | None = None
    push: Push | None = None
    refused: LogSummary | None = None

    def __attrs_post_init__(self) -> None:
        self.lookup.playlists.on_change.append(self.prepared.invalidate)

    def answer(self, head: Head, data: bytes, peer: str) -> Ready | Later | None:
        """The response to ``data``, or what has to be waited for; ``None`` for what Klein answers."""
        target = parse_path(head.path) if head.method in (b"GET", b"HEAD") else None
        if target is None:
            return self._steered(head, data, peer)
        if target.kind is Kind.FLV:
            return self._flv(target, head, peer)
        conditions = Conditions.of(head.fields)
        found = self.lookup.find(target, gzip=conditions.gzip)
        if found is None:
            ending = self._ending(head)
            return None if ending is None else self._refuse("404 Not Found", ending, target, head, peer)
        if not is_ordinary(head):
            return None
        request = MediaRequest(target, conditions, head.method == b"HEAD")
        if isinstance(found, Representation):
            return self._ready(found, request, data)
        return partial(self.lookup.wait, found, request)

    def _ready(self, representation: Representation, request: MediaRequest, data: bytes) -> Ready | Later:
        """The response with what is ready; if the request is plain, it is kept for the next who asks in these bytes."""
        response = self.lookup.respond(representation, request)
        line, _, block = data.partition(b"\r\n")
        ready = self.prepared.prepare(response, line)
        if ready is None:
            return partial(succeed, response)
        group = "" if request.target.name else request.target.stream
        self.prepared.keep(ready, line, block, request.conditions, group)
        return ready

    def _flv(self, target: Target, head: Head, peer: str) -> Ready | None:
        """The refusal of a request for FLV, which must be asked for once only; ``None``: Klein answers."""
        ending = self._ending(head)
        if ending is None or self.push is None:
            return None
        status = self.push.refusal(target.stream, head.target.partition(b"?")[2])
        return None if status is None else self._refuse(status, ending, target, head, peer)

    def _ending(self, head: Head) -> Ending | None:
        """Whether the connection ends with an error; ``None`` where Twisted has to say so."""
        ending = Ending.of(head)
        return None if ending is not Ending.KEEP_ALIVE and self.lookup.responses.are_last else ending

    def _refuse(self, status: str, ending: Ending, target: Target, head: Head, peer: str) -> Ready:
        """The response for what is nowhere, as far as is known here."""
        if self.refused is not None and (target.kind is Kind.FLV or not self.lookup.is_stream(target.stream)):
            self.refused.note(what=f"'{target.stream}'", peer=peer)
        return self.prepared.error(status, target.kind, is_head=head.method == b"HEAD", ending=ending)

    def _steered(self, head: Head, data: bytes, peer: str) -> Ready | None:
        """The response to ``peer`` if it asks which edge to use: one that holds for it alone, and is not kept."""
        if self.steering is None or not is_ordinary(head):
            return None
        response = self.steering.response(head.method, head.target, head.fields.get(b"x-forwarded-for", b""), peer)
        if response is None:
            return None
        line = data.partition(b"\r\n")[0]
        return self.prepared.prepare(response.without_body() if head.method == b"HEAD" else response, line)
