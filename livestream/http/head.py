"""
The head of an HTTP/1.x request, read strictly: what is not exactly right is refused, for it might be read two ways.

A server that is lenient where the cache or proxy in front of it is lenient in another way can be made to see another
request than that one did. So there is one reading here: CRLF ends a line, a name is a token with the colon right after
it, a value has no control characters, no line is folded, and there is no request body at all (RFC 9112, 2.2, 3, 5, 6).
"""

from __future__ import annotations

import re
from functools import lru_cache

from attrs import field, frozen

from livestream.http.limits import HeadLimits
from livestream.urls import split_authority

END = b"\r\n\r\n"

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])")
_FIELDS = re.compile(rb"(?:" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*\r\n)*")
_ABSOLUTE = re.compile(rb"https?://(?P<authority>[^/?]*)(?P<rest>.*)", re.IGNORECASE)
"""A target in absolute-form (RFC 9112, 3.2.2), as clients send it to a proxy, and some to any server."""
HOSTS = 256
"""So many hosts are remembered as sound: a node has few, and to look one up costs a tenth of reading it."""
_DIGITS = re.compile(rb"[0-9]{1,19}")


class Refused(Exception):
    """A head that is not served, with a status to say so, such as ``400 Bad Request``, and the limit it hit, if any."""

    def __init__(self, status: str, limit: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.limit = limit


@frozen
class Head:
    """One request's head. Field names are in lower case; a field that came twice has its values joined by a comma."""

    method: bytes
    target: bytes
    minor: int
    fields: dict[bytes, bytes] = field(factory=dict)
    was_absolute: bool = False
    """Whether the target came in absolute-form; here it is in origin-form, and the Host is that of the target."""

    @property
    def path(self) -> bytes:
        """The raw path: nothing is decoded, and the query is left out."""
        return self.target.partition(b"?")[0]

    def encoded(self) -> bytes:
        """It as bytes, to be read by another parser."""
        line = b"%b %b HTTP/1.%d\r\n" % (self.method, self.target, self.minor)
        return b"".join((line, *(b"%b: %b\r\n" % pair for pair in self.fields.items()), b"\r\n"))


def parse_line(line: bytes) -> tuple[bytes, bytes, int]:
    """
    Return a request line's method, target and minor version.

    :raises Refused: it is not exactly ``METHOD TARGET HTTP/1.0`` or ``HTTP/1.1``.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise Refused("400 Bad Request")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise Refused("505 HTTP Version Not Supported")
    return method, target, min(int(minor), 1)


def parse_fields(block: bytes, limits: HeadLimits) -> dict[bytes, bytes]:
    """
    Return the header fields of a block of whole lines, each ended by CRLF, without the empty line.

    :raises Refused: the block is not strictly well-formed, too long, or announces a body.
    """
    if _FIELDS.fullmatch(block) is None:
        raise Refused("400 Bad Request")
    lines = block.split(b"\r\n")[:-1]
    if len(lines) > limits.fields:
        raise Refused("431 Request Header Fields Too Large", "header_count")
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name in fields:
            if name in (b"host", b"content-length", b"transfer-encoding"):
                raise Refused("400 Bad Request")
            value = fields[name] + b", " + value
        fields[name] = value
    _refuse_body(fields)
    return fields


def parse(head: bytes, limits: HeadLimits) -> Head:
    """
    Read a whole head, which ends with an empty line.

    :raises Refused: it is not to be served; nothing that follows it on the connection can be trusted.
    """
    line, _, block = head.partition(b"\r\n")
    if len(line) > limits.target_bytes:
        raise Refused("414 URI Too Long", "target_bytes")
    if len(head) > limits.head_bytes:
        raise Refused("431 Request Header Fields Too Large", "header_bytes")
    method, target, minor = parse_line(line)
    fields = parse_fields(block[:-2], limits)
    host = fields.get(b"host", b"" if minor == 0 else None)
    if host is None:
        raise Refused("400 Bad Request")
    if host:
        _check_host(host)
    absolute = None if target.startswith(b"/") else _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return Head(method, target, minor, fields)
    _check_host(absolute["authority"])
    fields[b"host"] = absolute["authority"]
    return Head(method, b"/" + absolute["rest"].removeprefix(b"/"), minor, fields, was_absolute=True)


@lru_cache(HOSTS)
def _check_host(host: bytes) -> None:
    """
    Make sure of a host and, where it is not the usual one, a port (RFC 9110, 7.2).

    :raises Refused: it is no such thing. That is not remembered, so that what is does not have to make room.
    """
    try:
        split_authority(host.decode("latin-1"))
    except ValueError:
        raise Refused("400 Bad Request") from None


def check_unfinished(data: bytes, position: int, limits: HeadLimits) -> None:
    """
    Check what has come of a head that begins at ``position`` and whose end has not come.

    :raises Refused: whatever may follow, it will be too long.
    """
    length = len(data) - position
    if length > limits.target_bytes and data.find(b"\r\n", position, position + limits.target_bytes + 2) < 0:
        raise Refused("414 URI Too Long", "target_bytes")
    if length > limits.head_bytes:
        raise Refused("431 Request Header Fields Too Large", "header_bytes")


def _refuse_body(fields: dict[bytes, bytes]) -> None:
    """Nothing here takes a body: one that is announced is refused before any of it is read."""
    if b"transfer-encoding" in fields:
        raise Refused("400 Bad Request")
    length = fields.get(b"content-length")
    if length is None:
        return
    if _DIGITS.fullmatch(length) is None:
        raise Refused("400 Bad Request")
    if int(length) > 0:
        raise Refused("413 Content Too Large", "body")
