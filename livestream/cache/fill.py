"""An object on its way, and those who wait for it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed

from livestream.cache.store import CachedObject
from livestream.model.segments import ObjectInfo
from livestream.net.body import FIRST_BYTES, Body, BodyState


class Unavailable(Exception):
    """The object exists and cannot be had now."""


class DigestMismatch(Unavailable):
    """Its bytes are not those that were announced."""


@define(eq=False)
class Fill:
    """
    A body that grows, and a Deferred for each who waits for its first bytes, or for all of it.

    The last bytes are held back until the digest of the whole is known to be right, so that nobody is ever given all
    of an altered object. ``seconds`` is the wall clock.
    """

    info: ObjectInfo
    seconds: Callable[[], float]
    body: Body = field(init=False)
    _hash: Any = field(factory=sha256, init=False)
    _waiting: dict[Deferred[CachedObject], str] = field(factory=dict, init=False)
    _until_whole: set[Deferred[None]] = field(factory=set, init=False)
    _reason: str = field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self.body = Body.growing(self.info.size)

    def wait(self, outcome: str) -> Deferred[CachedObject]:
        """The object as soon as there are bytes of it. Whoever waits may cancel, and that harms nobody else."""
        if self.body.failed:
            return fail(Unavailable(self._reason))
        if self.body.received:
            return succeed(self._found(outcome))
        waiter: Deferred[CachedObject] = Deferred(self._leave)
        self._waiting[waiter] = outcome
        return waiter

    def over(self) -> Deferred[None]:
        """Fires when the object is whole; it may be cancelled likewise."""
        if self.body.failed:
            return fail(Unavailable(self._reason))
        if self.body.state is BodyState.WHOLE:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._until_whole.discard)
        self._until_whole.add(waiter)
        return waiter

    def take(self, data: bytes) -> None:
        """
        Add the bytes that follow.

        :raises DigestMismatch: with them, the object would not be the one that was announced; they are not added.
        :raises ValueError: they are too many.
        """
        received = self.body.received + len(data)
        if received > self.info.size:
            raise ValueError(f"{received} bytes are too many for an object of {self.info.size}")
        if received == self.info.size:
            self._check(data)
        if self._waiting:
            self._append(data[:FIRST_BYTES])
            self._wake()
            data = data[FIRST_BYTES:]
        if data:
            self._append(data)

    def finish(self) -> None:
        """
        All is here, to be settled when it is kept.

        :raises ValueError: it is not.
        """
        self.body.finish()

    def settle(self) -> None:
        """Tell those who waited for all of it."""
        waiters, self._until_whole = self._until_whole, set()
        for waiter in waiters:
            if not waiter.called:
                waiter.callback(None)

    def fail(self, error: Exception) -> None:
        """What is missing will not come: those who read are cut, and those who wait are told."""
        self._reason = str(error) or type(error).__name__
        self.body.fail()
        waiters: list[Deferred[Any]] = [*self._waiting, *self._until_whole]
        self._waiting.clear()
        self._until_whole.clear()
        for waiter in waiters:
            if not waiter.called:
                waiter.errback(Unavailable(self._reason))

    def _check(self, last: bytes) -> None:
        digest = self._hash.copy()
        digest.update(last)
        if digest.hexdigest() != self.info.digest:
            raise DigestMismatch("has other bytes than were announced")

    def _append(self, data: bytes) -> None:
        self.body.append(data)
        self._hash.update(data)

    def _leave(self, waiter: Deferred[CachedObject]) -> None:
        self._waiting.pop(waiter, None)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        found = {outcome: self._found(outcome) for outcome in set(waiting.values())}
        for waiter, outcome in waiting.items():
            if not waiter.called:
                waiter.callback(found[outcome])

    def _found(self, outcome: str) -> CachedObject:
        return CachedObject(self.body, self.info, outcome, self.seconds())
