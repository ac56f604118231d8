"""The directory of nodes on the bus, where a starting node finds those whose heartbeats it does not receive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.cluster.nodes import Nodes

REFRESH_S = 10.0
"""How often an entry is refreshed: readers only need its address, which seldom changes."""


class RetainingBus(Protocol):
    """Retains a message per name of a channel."""

    def retain(self, channel: str, name: str, message: bytes | None) -> None: ...
    def retained(self, channel: str) -> Deferred[Sequence[bytes]]: ...


@define(eq=False)
class NodeDirectory:
    """
    Keeps an entry for this node, ``others.own``, and reads all entries once, as soon as the bus answers.

    The entry of a node that died without a goodbye is removed by the next node that starts, after a quarter of an hour.
    """

    bus: RetainingBus
    channel: str
    others: Nodes
    _registered_at: float = field(default=float("-inf"), init=False)
    is_read: bool = field(default=False, init=False)
    _reading: Deferred[Any] | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def register(self, message: bytes) -> None:
        """Refresh the entry if due, and read the directory until that succeeds. Call with every heartbeat."""
        now = self.others.monotonic()
        if now - self._registered_at >= REFRESH_S and self.others.is_bus_healthy():
            self._registered_at = now
            self.bus.retain(self.channel, self.others.own, message)
        if not self.is_read and self._reading is None:
            self._read()

    def renew(self) -> None:
        """Refresh the entry with the next heartbeat, since the node's address has changed."""
        self._registered_at = float("-inf")

    def deregister(self) -> None:
        """Remove this node's entry."""
        if self._reading is not None:
            self._reading.cancel()
        self.bus.retain(self.channel, self.others.own, None)

    def _read(self) -> None:
        self._reading = reading = self.bus.retained(self.channel)
        reading.addCallbacks(self._restore, self._unanswered).addErrback(self._failed).addBoth(self._read_done)

    def _restore(self, messages: Sequence[bytes]) -> None:
        self.is_read = True
        for name in self.others.restore(messages):
            self.bus.retain(self.channel, name, None)

    def _unanswered(self, _: Failure) -> None:
        """The directory is read again with the next heartbeat."""

    def _failed(self, failure: Failure) -> None:
        self.log.failure("failed to process the directory of nodes", failure)

    def _read_done(self, _: object) -> None:
        self._reading = None
