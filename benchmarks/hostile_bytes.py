"""
What a hostile RTMP or HTTP peer sends, as bytes that are made before it begins.

Of its own, and not with the project's codec: a hostile peer keeps no rule that the codec would have it keep. Where a
name has :data:`NUMBER` in it, each connection, or each request, gets a number of its own there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

AUDIO, VIDEO, DATA, COMMAND, AGGREGATE = 8, 9, 18, 20, 22
SET_CHUNK_SIZE, ACKNOWLEDGEMENT, USER_CONTROL = 1, 3, 4
PING_REQUEST = 6
NUMBER = b"00000000"
MESSAGE_BYTES = 8 << 20
"""The largest message that a node takes."""
HELLO = b"\x03" + bytes(1536)
"""C0 and C1."""
FLV_HEADER_BYTES, FLV_TAG_BYTES = 13, 11

PLAYING, PUBLISHING = b"NetStream.Play.Start", b"NetStream.Publish.Start"


def amf(*values: object) -> bytes:
    """AMF0 of strings, numbers, booleans, ``None`` and objects, as commands have them."""
    return b"".join(map(_amf, values))


def _amf(value: object) -> bytes:
    if isinstance(value, str):
        return b"\x02" + _key(value)
    if isinstance(value, bool):
        return bytes([1, value])
    if isinstance(value, int | float):
        return b"\x00" + struct.pack(">d", value)
    if isinstance(value, dict):
        return b"\x03" + b"".join(_key(name) + _amf(each) for name, each in value.items()) + b"\0\0\x09"
    return b"\x05"


def _key(text: str) -> bytes:
    return len(text).to_bytes(2, "big") + text.encode()


def basic_header(kind: int, csid: int) -> bytes:
    """The first one to three bytes of a chunk (RTMP specification 1.0, 5.3.1.1), as short as they can be."""
    if csid < 64:
        return bytes([kind << 6 | csid])
    if csid < 320:
        return bytes([kind << 6, csid - 64])
    return bytes([kind << 6 | 1]) + (csid - 64).to_bytes(2, "little")


def header(type_id: int, length: int, csid: int, time_ms: int = 0, stream_id: int = 1) -> bytes:
    """A whole header (type 0) of a message of ``length`` bytes."""
    fields = time_ms.to_bytes(3, "big") + length.to_bytes(3, "big") + bytes([type_id])
    return basic_header(0, csid) + fields + stream_id.to_bytes(4, "little")


def message(
    type_id: int, body: bytes, csid: int, chunk_bytes: int = 128, time_ms: int = 0, stream_id: int = 1
) -> bytes:
    """A whole message, in chunks of ``chunk_bytes``."""
    parts = [body[at : at + chunk_bytes] for at in range(0, len(body), chunk_bytes)] or [b""]
    begin = header(type_id, len(body), csid, time_ms, stream_id)
    return begin + basic_header(3, csid).join(parts)


def command(*values: object, stream_id: int = 0) -> bytes:
    return message(COMMAND, amf(*values), 3, stream_id=stream_id)


def set_chunk_size(chunk_bytes: int) -> bytes:
    return message(SET_CHUNK_SIZE, chunk_bytes.to_bytes(4, "big"), 2, stream_id=0)


def ping() -> bytes:
    return message(USER_CONTROL, PING_REQUEST.to_bytes(2, "big") + bytes(4), 2, stream_id=0)


def connected() -> bytes:
    """The client's handshake, ``connect`` and ``createStream``, with no answer awaited."""
    asked = {"app": "live", "flashVer": "hostile", "tcUrl": "rtmp://127.0.0.1/live"}
    return HELLO + bytes(1536) + command("connect", 1, asked) + command("createStream", 2, None)


def player(name: str) -> bytes:
    return connected() + command("play", 0, None, name, -1000, stream_id=1)


def publisher(name: str) -> bytes:
    return connected() + command("publish", 0, None, name, "live", stream_id=1)


def pause() -> bytes:
    return command("pause", 0, None, True, 0, stream_id=1)


def unfinished(type_id: int, csids: Iterable[int], chunk_bytes: int, held_bytes: int) -> bytes:
    """
    Set Chunk Size, and messages of 8 MiB, one on each chunk stream, chunk by chunk in turn, until ``held_bytes`` of
    them have come in all; none is complete.
    """
    csids = list(csids)
    content = bytes(chunk_bytes)
    begin = b"".join(header(type_id, MESSAGE_BYTES, csid) + content for csid in csids)
    turn = b"".join(basic_header(3, csid) + content for csid in csids)
    return set_chunk_size(chunk_bytes) + begin + turn * (held_bytes // (chunk_bytes * len(csids)) - 1)


def get(path: str, *fields: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", *(fields or ("Host: hostile",))]
    return "\r\n".join([*lines, "", ""]).encode()


def numbered(request: bytes, count: int) -> bytes:
    """So many requests, each with a number of its own."""
    return b"".join(request.replace(NUMBER, b"%08d" % number) for number in range(count))


def alternating(paths: Iterable[Path], frames: int, frame_ms: int) -> bytes:
    """A broadcast of video whose frames are of these FLV files in turn, each with its decoder configuration first."""
    films = [_video(path) for path in paths]
    out = [set_chunk_size(1 << 16)]
    for number in range(frames):
        configuration, *pictures = films[number % len(films)]
        for body in (configuration, pictures[number % len(pictures)]):
            out.append(message(VIDEO, body, 6, 1 << 16, number * frame_ms))
    return b"".join(out)


def _video(path: Path) -> list[bytes]:
    """The bodies of an FLV file's video tags: the configuration first, and then the frames."""
    data, at, bodies = path.read_bytes(), FLV_HEADER_BYTES, []
    while at + FLV_TAG_BYTES <= len(data):
        length = int.from_bytes(data[at + 1 : at + 4], "big")
        begin = at + FLV_TAG_BYTES
        if data[at] == VIDEO and data[begin + 1] < 2:  # 2: the end of a sequence
            bodies.append(data[begin : begin + length])
        at = begin + length + 4
    return bodies
