"""The messages that RTMP's two ends control each other with (specification 1.0, 5.4 and 7.1)."""

from __future__ import annotations

from collections.abc import Iterator

from livestream.rtmp.chunks import Message
from livestream.rtmp.message_types import SET_CHUNK_SIZE, USER_CONTROL

STREAM_BEGIN, STREAM_EOF, SET_BUFFER_LENGTH, PING_REQUEST, PING_RESPONSE = 0, 1, 3, 6, 7

CONTROL_CSID, COMMAND_CSID, AUDIO_CSID, STATUS_CSID, VIDEO_CSID = 2, 3, 4, 5, 6
"""The chunk streams that are used for what is sent."""


def control(type_id: int, value: int, suffix: bytes = b"") -> Message:
    """A control message whose body is a number of four bytes, then ``suffix``."""
    return Message(type_id, 0, 0, value.to_bytes(4, "big") + suffix)


def set_chunk_size(chunk_bytes: int) -> Message:
    return control(SET_CHUNK_SIZE, chunk_bytes)


def user_control(event: int, value: int) -> Message:
    """A user control event about a stream, or with a time (ping)."""
    return Message(USER_CONTROL, 0, 0, event.to_bytes(2, "big") + value.to_bytes(4, "big"))


def sub_messages(message: Message, limit: int = 4096) -> Iterator[Message]:
    """The messages in an aggregate one (7.1.6), of any type, on its timeline; one that is cut short is left out."""
    body, at, first_ms = message.body, 0, None
    for _ in range(limit):
        if at + 11 > len(body):
            return
        type_id, size = body[at], int.from_bytes(body[at + 1 : at + 4], "big")
        time_ms = int.from_bytes(body[at + 4 : at + 7], "big") | body[at + 7] << 24
        first_ms = time_ms if first_ms is None else first_ms
        content = body[at + 11 : at + 11 + size]
        if len(content) < size:
            return
        placed_ms = (message.timestamp_ms + time_ms - first_ms) & 0xFFFFFFFF
        yield Message(type_id, message.stream_id, placed_ms, content)
        at += 11 + size + 4
