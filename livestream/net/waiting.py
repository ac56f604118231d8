"""Viewers who wait for what is announced of streams: each costs a Deferred and a timer, and asks nobody."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


@define(eq=False)
class WaitingViewers:
    """Who waits for which stream. The caller bounds how many."""

    clock: IReactorTime
    _streams: dict[str, dict[Deferred[None], IDelayedCall]] = field(factory=dict, init=False)
    _count: int = field(default=0, init=False)

    def __len__(self) -> int:
        return self._count

    def wait(self, stream: str, seconds: float) -> Deferred[None]:
        """Fire when something is announced of a stream, or after ``seconds``. It may be cancelled."""
        waiter: Deferred[None] = Deferred(lambda waiter: self._remove(stream, waiter).cancel())
        waiters = self._streams.setdefault(stream, {})
        waiters[waiter] = self.clock.callLater(seconds, self._time_out, stream, waiter)
        self._count += 1
        return waiter

    def announced(self, stream: str) -> None:
        """Wake those who wait for a stream: something new is known of it."""
        for waiter in list(self._streams.get(stream, ())):
            if waiter in self._streams.get(stream, ()):
                self._remove(stream, waiter).cancel()
                waiter.callback(None)

    def _time_out(self, stream: str, waiter: Deferred[None]) -> None:
        self._remove(stream, waiter)
        waiter.callback(None)

    def _remove(self, stream: str, waiter: Deferred[None]) -> IDelayedCall:
        waiters = self._streams[stream]
        self._count -= 1
        call = waiters.pop(waiter)
        if not waiters:
            del self._streams[stream]
        return call
