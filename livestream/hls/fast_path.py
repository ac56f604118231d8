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

from livestream.hls.lookup import Service, Wanted
from livestream.hls.paths import Kind, Target, parse_path
from livestream.hls.steering import Steer
from livestream.http.conditions import Conditions
from livestream.http.head import Head
from livestream.http.prepared import Ending, Later, PreparedResponses, Ready, is_ordinary
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

    service: Service
    prepared: PreparedResponses
    steer: Steer | None = None
    push: Push | None = None
    refused: LogSummary | None = None

    def __attrs_post_init__(self) -> None:
        self.service.playlists.on_change.append(self.prepared.invalidate)

    def take(self, head: Head, data: bytes, peer: str, *, is_logged: bool) -> Ready | Later | None:
        """The response to ``data``, or what has to be waited for; ``None`` for what Klein answers."""
        target = parse_path(head.path) if head.method in (b"GET", b"HEAD") else None
        if target is None:
            return self._steered(head, data, peer)
        wanted = None
        if target.kind is not Kind.FLV and is_ordinary(head):
            wanted = Wanted(target, Conditions.of(head.fields), head.method == b"HEAD")
            ready = self._prepare(wanted, data)
            if ready is not None:
                return ready
        missing = self._missing(target, head, peer)
        if missing is not None:
            return missing.logged_for(data.partition(b"\r\n")[0]) if is_logged else missing
        return None if wanted is None else partial(self.service.answer, wanted)

    def _prepare(self, wanted: Wanted, data: bytes) -> Ready | None:
        """The response, if it is ready; if the request is plain, it is kept for the next who asks in these bytes."""
        answer = self.service.ready(wanted)
        line, _, block = data.partition(b"\r\n")
        ready = None if answer is None else self.prepared.prepare(answer, line)
        if ready is not None:
            group = "" if wanted.target.name else wanted.target.stream
            self.prepared.keep(ready, line, block, wanted.conditions, group)
        return ready

    def _missing(self, target: Target, head: Head, peer: str) -> Ready | None:
        """The response for what is nowhere, as far as is known here; ``None`` for all else."""
        ending, status = Ending.of(head), "404 Not Found"
        if ending is None or (ending is not Ending.NONE and self.service.answers.are_last):
            return None
        if target.kind is Kind.FLV:
            refusal = None if self.push is None else self.push.refusal(target.stream, head.target.partition(b"?")[2])
            if refusal is None:
                return None
            status = refusal
        elif not self.service.is_absent(target):
            return None
        if self.refused is not None and (target.kind is Kind.FLV or not self.service.is_stream(target.stream)):
            self.refused.note(what=f"'{target.stream}'", peer=peer)
        return self.prepared.error(status, target.kind, is_head=head.method == b"HEAD", ending=ending)

    def _steered(self, head: Head, data: bytes, peer: str) -> Ready | None:
        """The response to ``peer`` if it asks which edge to use: one that holds for it alone, and is not kept."""
        if self.steer is None or not is_ordinary(head):
            return None
        answer = self.steer.answer(head.method, head.target, head.fields.get(b"x-forwarded-for", b""), peer)
        if answer is None:
            return None
        line = data.partition(b"\r\n")[0]
        return self.prepared.prepare(answer.without_body() if head.method == b"HEAD" else answer, line)
