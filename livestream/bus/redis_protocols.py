"""What speaks to Redis on a connection: txredisapi's protocols, with a count of pings and no tracebacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hiredis
import txredisapi


class Quiet:
    """What a server may send that is no Redis: the connection ends, with no traceback."""

    pings = 0
    """So many were sent since the server last said anything."""
    transport: Any
    factory: Any

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        self.pings = 0
        try:
            super().dataReceived(data, unpause)  # type: ignore[misc]
        except Exception as error:
            self.factory.refused(f"it does not speak as a Redis does: {error}")
            self.transport.abortConnection()


class Commands(Quiet, txredisapi.RedisProtocol):  # type: ignore[misc]
    def _build_command(self, *words: Any, **options: object) -> bytes:
        """In C: the library's own takes a third of all the time that an announcement takes its sender."""
        packed: bytes = hiredis.pack_command(words)
        return packed


class Subscriber(Quiet, txredisapi.SubscriberProtocol):  # type: ignore[misc]
    heard: Callable[[bytes, bytes], None] | None = None

    def messageReceived(self, pattern: object, channel: bytes, message: bytes) -> None:
        if self.heard is not None:
            self.heard(channel, message)
