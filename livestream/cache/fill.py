"""An object that is being fetched, and those who wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed

from livestream.cache.store import CachedObject
from livestream.model.segments import ObjectInfo
from livestream.net.body import FIRST_BYTES, Body, BodyState

RESUME_S = 1.5
"""
For so long after its first interruption an object is tried again where it broke off, and its bytes are kept. It is less
than the silence that a downstream node puts up with (`livestream.cache.upstream.body_reader.SILENCE_S`).
"""


class Unavailable(Exception):
    """The object exists, and cannot be fetched now."""


class DigestMismatch(Unavailable):
    """Its bytes are not those that were announced."""


@define(eq=False)
class Fill:
    """
    A growing body, and a Deferred for each who waits for its first bytes, or for all of it.

    It lives through several attempts to fetch the object: whoever reads the body waits while one follows another. The
    last bytes are held back until the digest of the whole is known to be right, so that nobody is ever given all of an
    altered object. ``seconds`` is the wall clock.
    """

    info: ObjectInfo
    seconds: Callable[[], float]
    body: Body = field(init=False)
    _hash: Any = field(factory=sha256, init=False)
    _waiting: dict[Deferred[CachedObject], str] = field(factory=dict, init=False)
    _until_whole: set[Deferred[None]] = field(factory=set, init=False)
    _is_interrupted: bool = field(default=False, init=False)
    _is_refetched: bool = field(default=False, init=False)
    _resume_until: float | None = field(default=None, init=False)
    _reason: str = field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self.body = Body.growing(self.info.size)

    def get(self, outcome: str) -> Deferred[CachedObject]:
        """
        The object as soon as there are bytes of it; after an interruption, as soon as there are more of them.

        To cancel the Deferred affects nobody else.
        """
        if self._reason:
            return fail(Unavailable(self._reason))
        if self.body.received and not self._is_interrupted:
            return succeed(self._object(outcome))
        waiter: Deferred[CachedObject] = Deferred(self._remove_waiter)
        self._waiting[waiter] = outcome
        return waiter

    def whole(self) -> Deferred[None]:
        """Fires when the object is whole, and fails when an attempt is interrupted; it may be cancelled likewise."""
        if self._reason:
            return fail(Unavailable(self._reason))
        if self.body.state is BodyState.WHOLE:
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._until_whole.discard)
        self._until_whole.add(waiter)
        return waiter

    def append(self, data: bytes) -> None:
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
        self._is_interrupted = False
        if self._waiting:
            self._add(data[:FIRST_BYTES])
            self._wake()
            data = data[FIRST_BYTES:]
        if data:
            self._add(data)

    def interrupt(self, error: Exception, now: float) -> bool:
        """
        Note that an attempt broke off, at ``now``; return whether there may be another that goes on from there.

        Readers of the body, and those who wait for bytes, wait for the next attempt; those who wait for the whole
        object are told, and may wait again.
        """
        if self._resume_until is None:
            self._resume_until = now + RESUME_S
        if not 0 < self._resume_until - now <= RESUME_S:
            return False
        self._is_interrupted = True
        waiters, self._until_whole = self._until_whole, set()
        _reject(waiters, _reason(error))
        return True

    def restart(self) -> bool:
        """
        Discard all bytes, once, since they are not those announced; return whether there were any to discard.

        Readers of the body are cut off; those who wait for bytes, or for the whole object, wait for the next attempt.
        """
        if self._is_refetched or not self.body.received:
            return False
        self._is_refetched = True
        wrong, self.body, self._hash = self.body, Body.growing(self.info.size), sha256()
        wrong.fail()  # whose readers may ask again at once
        return True

    def complete(self) -> None:
        """Tell those who wait for the whole object that it can be had from the store."""
        waiters, self._until_whole = self._until_whole, set()
        for waiter in waiters:
            if not waiter.called:
                waiter.callback(None)

    def fail(self, error: Exception) -> None:
        """The rest will not come: readers are cut off, and those who wait get an error."""
        self._reason = _reason(error)
        self.body.fail()
        waiters: list[Deferred[Any]] = [*self._waiting, *self._until_whole]
        self._waiting.clear()
        self._until_whole.clear()
        _reject(waiters, self._reason)

    def _check(self, last: bytes) -> None:
        digest = self._hash.copy()
        digest.update(last)
        if digest.hexdigest() != self.info.digest:
            raise DigestMismatch("does not match its announced digest")

    def _add(self, data: bytes) -> None:
        self.body.append(data)
        self._hash.update(data)

    def _remove_waiter(self, waiter: Deferred[CachedObject]) -> None:
        self._waiting.pop(waiter, None)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, {}
        found = {outcome: self._object(outcome) for outcome in set(waiting.values())}
        for waiter, outcome in waiting.items():
            if not waiter.called:
                waiter.callback(found[outcome])

    def _object(self, outcome: str) -> CachedObject:
        return CachedObject(self.body, self.info, outcome, self.seconds())


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _reject(waiters: Iterable[Deferred[Any]], reason: str) -> None:
    for waiter in waiters:
        if not waiter.called:
            waiter.errback(Unavailable(reason))
