"""A writer's announcements until the bus has accepted them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from livestream.model.epochs import WRITERS
from livestream.model.segments import Announcement, SegmentAnnounced, Superseded

COMMIT_S = 0.5
"""How long to wait for the bus before committing an announcement without it."""
RETRY_S = 0.25
SUBMIT_S = 30.0
"""How long an announcement is submitted; later, it would have left the logs too."""
REMEMBERED = 3_600_000 * WRITERS
"""Epochs are remembered for an hour, in the unit of their numbers (`livestream.model.epochs`)."""

Revoked = Callable[[int], None]


@define(eq=False)
class _Pending:
    announcement: Announcement
    revoked: Revoked
    until: float
    is_submitted: bool = False
    is_committed: bool = False
    is_closed: bool = False
    call: IDelayedCall | None = None

    @property
    def msn(self) -> int:
        announcement = self.announcement
        return announcement.segment.msn if isinstance(announcement, SegmentAnnounced) else 0


@define(eq=False)
class PendingAnnouncements:
    """
    The announcements of one stream. ``accept`` submits one to the bus; it fails with `Superseded` if the number may
    belong to another writer, and with any other error if the bus does not answer. ``commit`` makes one visible to those
    who ask this node.

    An announcement is committed once the bus has accepted it, or has not answered for `COMMIT_S` seconds. What was
    committed is never revoked, and is submitted again until the bus has it. While the bus does not answer, only the
    oldest announcement is retried.
    """

    accept: Callable[[Announcement], Deferred[None]]
    commit: Callable[[Announcement], object]
    clock: IReactorTime
    _open: list[_Pending] = field(factory=list, init=False)
    _committed: dict[int, int] = field(factory=dict, init=False)
    _retry: IDelayedCall | None = field(default=None, init=False)

    def add(self, announcement: Announcement, revoked: Revoked, *, at_once: bool = False) -> None:
        """
        Submit an announcement, and commit it ``at_once`` or when due.

        If it is refused before it was committed, it never will be, nor will later numbers of its epoch:
        ``revoked(epoch)`` is called for each of them, with the younger epoch.
        """
        pending = _Pending(announcement, revoked, self.clock.seconds() + SUBMIT_S)
        self._open.append(pending)
        if at_once:
            self._commit(pending)
        else:
            pending.call = self.clock.callLater(COMMIT_S, self._commit, pending)
        self._submit(pending)

    @property
    def has_uncommitted(self) -> bool:
        """Whether an announcement is not committed yet, which takes `COMMIT_S` at most."""
        return any(not pending.is_committed for pending in self._open)

    def has_committed(self, epoch: int, msn: int) -> bool:
        """Whether this number of an epoch, or a later one, was committed in any rendition."""
        return msn <= self._committed.get(epoch, -1)

    def commit_all(self) -> None:
        """Commit all announcements now."""
        for pending in list(self._open):
            self._commit(pending)

    def stop(self) -> None:
        """Submit nothing more."""
        for pending in list(self._open):
            self._close(pending)

    def _submit(self, pending: _Pending) -> Deferred[bool]:
        """Submit an announcement to the bus; return whether the bus answered."""
        pending.is_submitted = True
        submitted = self.accept(pending.announcement)
        return submitted.addCallbacks(
            lambda _: self._accepted(pending), lambda failure: self._refused(failure, pending)
        )

    def _accepted(self, pending: _Pending) -> bool:
        if not pending.is_closed:
            self._commit(pending)
            self._close(pending)
        return True

    def _refused(self, failure: Failure, pending: _Pending) -> bool:
        error, pending.is_submitted = failure.value, False
        if isinstance(error, Superseded) and not (pending.is_committed or pending.is_closed):
            self._revoke(pending, error.epoch)
        elif not pending.is_closed and self._retry is None:
            self._retry = self.clock.callLater(RETRY_S, self._retry_oldest)
        return isinstance(error, Superseded)

    def _retry_oldest(self) -> None:
        self._retry = None
        for pending in [pending for pending in self._open if self.clock.seconds() >= pending.until]:
            self._close(pending)
        if waiting := [pending for pending in self._open if not pending.is_submitted]:
            self._submit(waiting[0]).addCallback(self._submit_rest, waiting[1:])

    def _submit_rest(self, bus_answers: bool, rest: Sequence[_Pending]) -> None:
        for pending in rest if bus_answers else ():
            if not (pending.is_closed or pending.is_submitted):
                self._submit(pending)

    def _revoke(self, refused: _Pending, epoch: int) -> None:
        number = refused.announcement.epoch.number
        for pending in list(self._open):
            is_later = pending.announcement.epoch.number == number and pending.msn >= refused.msn
            if pending is refused or (is_later and not pending.is_committed):
                self._close(pending)
                pending.revoked(epoch)

    def _commit(self, pending: _Pending) -> None:
        if not pending.is_committed:
            pending.is_committed = True
            pending.revoked = _never_revoked
            number = pending.announcement.epoch.number
            self._committed = {epoch: msn for epoch, msn in self._committed.items() if epoch > number - REMEMBERED}
            self._committed[number] = max(self._committed.get(number, 0), pending.msn)
            self.commit(pending.announcement)

    def _close(self, pending: _Pending) -> None:
        pending.is_closed = True
        self._open.remove(pending)
        if pending.call is not None and pending.call.active():
            pending.call.cancel()
        if not self._open and self._retry is not None:
            self._retry.cancel()
            self._retry = None


def _never_revoked(epoch: int) -> None:
    """Replaces the callback of a committed announcement, and thereby frees the segment's bytes that it holds."""
