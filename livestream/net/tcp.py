"""TCP as streaming wants it."""

from __future__ import annotations

import socket
from typing import Any


def tune(transport: Any) -> None:
    """No waiting for small writes, and a peer whose machine is gone is noticed within half a minute."""
    handle = getattr(transport, "getHandle", lambda: None)()
    if not isinstance(handle, socket.socket) or handle.family == socket.AF_UNIX:
        return
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        handle.setsockopt(socket.IPPROTO_TCP, option, value)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
