"""As much of a reactor as real sockets need, in step with the test."""

from __future__ import annotations

import select
from typing import Any

from twisted.internet import main
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IReactorFDSet)
class Loop(Clock):
    """
    Watches descriptors; :meth:`turn` handles what is ready and makes the calls that are due when it begins, and time
    passes only when it is told to.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = 1_800_000_000.0
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()
        self.addReader, self.removeReader = self.readers.add, self.readers.discard
        self.addWriter, self.removeWriter = self.writers.add, self.writers.discard

    def removeAll(self) -> list[Any]:
        return []

    getReaders = getWriters = removeAll

    def turn(self) -> bool:
        """Handle what is ready; return whether anything was."""
        readable, writable, _ = select.select(self.readers, self.writers, [], 0)
        for descriptor in readable:
            if descriptor in self.readers:
                self._handled(descriptor, descriptor.doRead())
        for descriptor in writable:
            if descriptor in self.writers:
                self._handled(descriptor, descriptor.doWrite())
        due = [call for call in self.calls if call.getTime() <= self.rightNow]
        for call in due:
            if call in self.calls:
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)
        return bool(readable or writable or due)

    def _handled(self, descriptor: Any, why: Any) -> None:
        if isinstance(why, ConnectionDone):
            descriptor.readConnectionLost(Failure(why))
        elif why is not None:
            descriptor.connectionLost(Failure(main.CONNECTION_LOST))
