"""What a request asks of a content beyond its name: conditions, one range, and an encoding (RFC 9110, 12 to 14)."""

from __future__ import annotations

import re
from enum import Enum

from attrs import frozen

_RANGE = re.compile(rb"bytes=(?:([0-9]{1,19})-([0-9]{0,19})|-([0-9]{1,19}))", re.IGNORECASE)
_TAG = re.compile(rb'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_CODING = re.compile(rb"\s*([A-Za-z0-9*!#$%&'+.^_`|~-]+)\s*(?:;\s*q=([0-9.]{1,5})\s*)?", re.IGNORECASE)


@frozen
class Conditions:
    """The fields that decide which response a request gets; a request without any is plain."""

    if_none_match: bytes = b""
    if_range: bytes = b""
    range: bytes = b""
    gzip: bool = False

    @property
    def is_plain(self) -> bool:
        return not (self.if_none_match or self.range)

    @classmethod
    def of(cls, fields: dict[bytes, bytes]) -> Conditions:
        """Pick them from header fields whose names are in lower case."""
        return cls(
            fields.get(b"if-none-match", b""),
            fields.get(b"if-range", b""),
            fields.get(b"range", b""),
            accepts_gzip(fields.get(b"accept-encoding", b"")),
        )


class Outcome(Enum):
    """What a request's conditions come to."""

    WHOLE = "200 OK"
    PART = "206 Partial Content"
    UNCHANGED = "304 Not Modified"
    UNSATISFIABLE = "416 Range Not Satisfiable"


@frozen
class Selection:
    """What of a representation is to be sent: the bytes from ``start`` up to, but not with, ``stop``."""

    outcome: Outcome
    start: int = 0
    stop: int = 0


def select(conditions: Conditions, etag: bytes, size: int) -> Selection:
    """
    Decide what a request gets of a representation with this strong validator and size.

    More than one range, or one that is not well-formed, is ignored, as RFC 9110, 14.2, allows: the whole is sent.
    """
    if conditions.if_none_match and _matches_any(conditions.if_none_match, etag):
        return Selection(Outcome.UNCHANGED)
    if not conditions.range or (conditions.if_range and conditions.if_range != etag):
        return Selection(Outcome.WHOLE, 0, size)
    match = _RANGE.fullmatch(conditions.range)
    if match is None:
        return Selection(Outcome.WHOLE, 0, size)
    first, last, suffix = match.groups()
    if suffix is not None:
        start, stop = max(size - int(suffix), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return Selection(Outcome.WHOLE, 0, size)
    if start >= stop:
        return Selection(Outcome.UNSATISFIABLE)
    return Selection(Outcome.PART, start, stop)


def accepts_gzip(accepted: bytes) -> bool:
    """Whether an Accept-Encoding names gzip, or anything, with a weight above zero."""
    weights: dict[bytes, float] = {}
    for item in accepted.split(b",")[:16]:
        match = _CODING.fullmatch(item)
        if match is not None:
            weights[match[1].lower()] = _weight(match[2])
    return weights.get(b"gzip", weights.get(b"x-gzip", weights.get(b"*", 0.0))) > 0


def _weight(text: bytes | None) -> float:
    try:
        return 1.0 if text is None else float(text)
    except ValueError:
        return 0.0


def _matches_any(condition: bytes, etag: bytes) -> bool:
    """Compare weakly, as If-None-Match does (RFC 9110, 13.1.2)."""
    return condition in (etag, b"*") or etag in _TAG.findall(condition)
