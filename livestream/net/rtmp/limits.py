"""What a peer may ask of an RTMP port."""

from __future__ import annotations

from attrs import field, frozen

from livestream.rtmp.chunks import ChunkLimits

SMALL_BYTES = 4096
"""When too much is held for those who do not publish, who holds no more than this may stay."""


@frozen
class RtmpLimits:
    """
    What a peer may ask of a port. Times are in seconds; ``silence_s`` is how long a publisher may send nothing, and
    ``unserved_bytes`` what is held for all together who do not publish.
    """

    handshake_s: float = 5.0
    request_s: float = 10.0
    silence_s: float = 15.0
    ping_s: float = 30.0
    connections: int = 10_000
    unserved_bytes: int = 64 << 20
    chunks: ChunkLimits = field(factory=ChunkLimits)
