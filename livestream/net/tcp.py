"""TCP as streaming wants it."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.tcp import Connection


def tune(transport: Any) -> None:
    """No waiting for small writes, and a peer whose machine is gone is noticed within half a minute."""
    handle = _handle(transport)
    if handle is None:
        return
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        handle.setsockopt(socket.IPPROTO_TCP, option, value)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)


def acknowledge_at_once(transport: Any) -> None:
    """
    Have the kernel acknowledge what has come, and what comes next, at once.

    After we have said something it waits for more to say, for 40 ms; and so long a peer with Nagle's algorithm, such as
    ffmpeg, holds the end of a picture back.
    """
    handle = _handle(transport)
    if handle is not None:
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def has_unsent(transport: Any) -> bool:
    """Whether a plain connection holds bytes that its socket has not taken; ``False`` for any other transport."""
    return isinstance(transport, Connection) and bool(transport._tempDataBuffer or transport.dataBuffer)


def _handle(transport: Any) -> socket.socket | None:
    """The socket of a TCP connection, below TLS if need be; ``None`` for any other transport."""
    while transport is not None:
        handle = getattr(transport, "getHandle", lambda: None)()
        if isinstance(handle, socket.socket):
            return handle if handle.family != socket.AF_UNIX else None
        transport = getattr(transport, "transport", None)
    return None
