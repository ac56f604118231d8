"""What a viewer may ask of the server."""

from __future__ import annotations

from functools import cached_property

from attrs import field, frozen

from livestream.net.tcp import VIEWER_KEEPALIVE, TcpTuning


@frozen
class HeadLimits:
    """How large a head may be: its bytes, its header fields, and the request's target."""

    head_bytes: int = 16384
    fields: int = 64
    target_bytes: int = 8192


@frozen
class ConnectionLimits:
    """
    What one connection may ask of the server. Times are in seconds.

    When more than ``held_bytes`` are held of what all connections together have sent and cannot be served yet, none may
    have more than ``small_bytes`` of it.
    """

    head: HeadLimits = field(factory=HeadLimits)
    header_s: float = 10.0
    idle_s: float = 60.0
    stall_s: float = 30.0
    send_buffer_bytes: int = 131072
    read_ahead_bytes: int = 16384
    held_bytes: int = 64 << 20
    small_bytes: int = 4096

    @cached_property
    def tcp(self) -> TcpTuning:
        """What the kernel is asked for a connection: its memory is bounded, and a peer that has vanished is noticed."""
        return TcpTuning(self.send_buffer_bytes, VIEWER_KEEPALIVE)


@frozen
class HttpLimits:
    """How many connections are served at once; 0: no limit."""

    connections: int = 20_000
    per_connection: ConnectionLimits = field(factory=ConnectionLimits)
