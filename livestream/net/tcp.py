"""TCP as streaming wants it: what the kernel is asked to do for a connection."""

from __future__ import annotations

import socket
from functools import cached_property
from typing import Any

from attrs import frozen

MAX_INT = (1 << 31) - 1
"""The kernel takes no larger value of an option."""


@frozen
class Keepalive:
    """
    A peer that has vanished is noticed (RFC 9293, 3.8.4; tcp(7)).

    One that has said nothing for ``idle_s`` is asked every ``interval_s``, and given up when so many ``probes``
    have had no answer; one that was sent something and has acknowledged none of it, after ``unacknowledged_ms``.
    """

    idle_s: int
    interval_s: int
    probes: int
    unacknowledged_ms: int = 30_000


@frozen
class TcpTuning:
    """
    What is asked for a connection; what is ``None`` stays as it is.

    ``send_buffer_bytes`` is what the kernel may hold of data to be sent, and as much again of its own (socket(7)); it
    does not grow that buffer by itself then. With ``is_prompt`` small writes do not wait (TCP_NODELAY).
    """

    send_buffer_bytes: int | None = None
    keepalive: Keepalive | None = None
    is_prompt: bool | None = None

    @cached_property
    def options(self) -> tuple[tuple[int, int, int], ...]:
        """The level, the name and the value of each option of the socket."""
        options: list[tuple[int, int, int]] = []
        if self.send_buffer_bytes is not None:
            options.append((socket.SOL_SOCKET, socket.SO_SNDBUF, min(self.send_buffer_bytes, MAX_INT)))
        if self.is_prompt is not None:
            options.append((socket.IPPROTO_TCP, socket.TCP_NODELAY, int(self.is_prompt)))
        if self.keepalive is not None:
            options += (
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, self.keepalive.idle_s),
                (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, self.keepalive.interval_s),
                (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, self.keepalive.probes),
                (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self.keepalive.unacknowledged_ms),
            )
        return tuple(options)


NODE = TcpTuning(keepalive=Keepalive(10, 5, 3), is_prompt=True)
"""For publishers, players of RTMP and other nodes: whose machine is gone is noticed within half a minute."""

VIEWER_KEEPALIVE = Keepalive(30, 10, 3)
"""For viewers over HTTP, who are many, and silent between two segments."""


def tune(transport: Any, tuning: TcpTuning) -> None:
    """Ask for it on the socket of a connection, below TLS if need be; a local one (AF_UNIX) has no options of TCP."""
    connection = _socket(transport)
    if connection is not None:
        for level, name, value in tuning.options:
            if level == socket.SOL_SOCKET or connection.family != socket.AF_UNIX:
                connection.setsockopt(level, name, value)


def acknowledge_at_once(transport: Any) -> None:
    """
    Have the kernel acknowledge what has come, and what comes next, at once.

    After we have said something it waits for more to say, for 40 ms; and so long a peer with Nagle's algorithm, such as
    ffmpeg, holds the end of a picture back.
    """
    connection = _socket(transport)
    if connection is not None and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _socket(transport: Any) -> socket.socket | None:
    """The socket of a connection, below TLS if need be; ``None`` for a transport that has none."""
    while transport is not None:
        handle = getattr(transport, "getHandle", lambda: None)()
        if isinstance(handle, socket.socket):
            return handle
        transport = getattr(transport, "transport", None)
    return None
