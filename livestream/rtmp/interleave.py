"""One tick of a stream as the bytes that every viewer gets: audio and video interleaved, chunk by chunk."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from livestream.rtmp.chunks import Message, split
from livestream.rtmp.message_types import VIDEO
from livestream.rtmp.messages import AUDIO_CSID, VIDEO_CSID


def join_tick(messages: Sequence[Message], chunk_bytes: int) -> bytes:
    """
    Join ``messages`` so that no audio waits behind more than one chunk of a large video frame.

    The order within a track is kept. Every message begins with a full header, so the bytes mean the same to every
    viewer whose chunk size is ``chunk_bytes``, whatever it was sent before.
    """
    audio: deque[list[bytes]] = deque()
    out: list[bytes] = []
    for message in messages:
        if message.type_id != VIDEO:
            audio.append(split(message, AUDIO_CSID, chunk_bytes))
    for message in messages:
        if message.type_id != VIDEO:
            continue
        for chunk in split(message, VIDEO_CSID, chunk_bytes):
            out.append(chunk)
            if audio:
                out += audio.popleft()
    for chunks in audio:
        out += chunks
    return b"".join(out)
