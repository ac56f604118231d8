"""The list of nodes as the bus keeps it: a node that has just started finds there those that are not heard now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.cluster.nodes import Nodes

AGAIN_S = 10.0
"""So often a node is put on the list again: whoever reads it learns an address, which seldom changes."""


class KeepingBus(Protocol):
    """Keeps a message of each name of a channel."""

    def retain(self, channel: str, name: str, message: bytes | None) -> None: ...
    def retained(self, channel: str) -> Deferred[Sequence[bytes]]: ...


@define(eq=False)
class KeptList:
    """
    Keeps the node ``others.own`` on the list, and reads it once, as soon as the bus answers.

    Whoever died without a goodbye is taken off it by the next node that starts, a quarter of an hour later or more.
    """

    bus: KeepingBus
    channel: str
    others: Nodes
    _kept_at: float = field(default=float("-inf"), init=False)
    is_read: bool = field(default=False, init=False)
    _reading: Deferred[Any] | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def keep(self, message: bytes) -> None:
        """Call this with all that the node says: it is kept now and then. The list is read while it is not known."""
        now = self.others.monotonic()
        if now - self._kept_at >= AGAIN_S and self.others.is_bus_healthy():
            self._kept_at = now
            self.bus.retain(self.channel, self.others.own, message)
        if not self.is_read and self._reading is None:
            self._read()

    def renew(self) -> None:
        """The node has another address: keep the next message, whenever the last was kept."""
        self._kept_at = float("-inf")

    def remove(self) -> None:
        """Keep the node no more."""
        if self._reading is not None:
            self._reading.cancel()
        self.bus.retain(self.channel, self.others.own, None)

    def _read(self) -> None:
        self._reading = reading = self.bus.retained(self.channel)
        reading.addCallbacks(self._restore, self._unanswered).addErrback(self._failed).addBoth(self._over)

    def _restore(self, messages: Sequence[bytes]) -> None:
        self.is_read = True
        for name in self.others.restore(messages):
            self.bus.retain(self.channel, name, None)

    def _unanswered(self, _: Failure) -> None:
        """It is asked again with the next message."""

    def _failed(self, failure: Failure) -> None:
        self.log.failure("the list of nodes was not taken in", failure)

    def _over(self, _: object) -> None:
        self._reading = None
