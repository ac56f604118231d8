"""Everything that a reader or a session makes of some bytes, over as many calls as it takes."""

from __future__ import annotations

from collections.abc import Iterator

from livestream.rtmp.chunks import ALL_STEPS, ChunkReader, Message
from livestream.rtmp.events import ServerEvent
from livestream.rtmp.server import ServerSession


def read_all(reader: ChunkReader, data: bytes, steps: int = ALL_STEPS) -> list[Message]:
    """The messages that ``data`` completes, read ``steps`` at a time."""
    messages = reader.receive(data, steps)
    while reader.has_more:
        messages += reader.receive(b"", steps)
    return messages


def read_events(session: ServerSession, data: bytes) -> Iterator[ServerEvent]:
    """The events of ``data``; answer each before the next is taken."""
    yield from session.receive_data(data)
    while session.has_more:
        yield from session.receive_data(b"")
