"""Everything that a reader makes of some bytes, over as many calls as it takes."""

from __future__ import annotations

from livestream.rtmp.chunks import ALL_STEPS, ChunkReader, Message


def read_all(reader: ChunkReader, data: bytes, steps: int = ALL_STEPS) -> list[Message]:
    """The messages that ``data`` completes, read ``steps`` at a time."""
    messages = reader.receive(data, steps)
    while reader.has_more:
        messages += reader.receive(b"", steps)
    return messages
