"""txredisapi's protocols, made robust against servers that are frozen or are not Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hiredis
import txredisapi


class GuardedProtocol:
    """Counts unanswered pings, and closes the connection on malformed input instead of logging a traceback."""

    pings = 0
    """How many were sent since the server last sent anything."""
    transport: Any
    factory: Any

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        self.pings = 0
        try:
            super().dataReceived(data, unpause)  # type: ignore[misc]
        except Exception as error:
            self.factory.refused(f"it does not speak the Redis protocol: {error}")
            self.transport.abortConnection()


class CommandProtocol(GuardedProtocol, txredisapi.RedisProtocol):  # type: ignore[misc]
    def _build_command(self, *words: Any, **options: object) -> bytes:
        """Pack in C: the library's own code takes a third of the sender's time per announcement."""
        packed: bytes = hiredis.pack_command(words)
        return packed


class SubscriptionProtocol(GuardedProtocol, txredisapi.SubscriberProtocol):  # type: ignore[misc]
    on_message: Callable[[bytes, bytes], None] | None = None

    def messageReceived(self, pattern: object, channel: bytes, message: bytes) -> None:
        if self.on_message is not None:
            self.on_message(channel, message)
