"""What a writer announces, on its way: offered to the bus until that has it, and shown when it has, or soon."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from livestream.model.segments import Announcement, SegmentAnnounced, Superseded

SHOWN_S = 0.5
"""A bus that has not answered by then is not waited for."""
RETRY_S = 0.25
OFFERED_S = 30.0
"""So long is an announcement offered; later, the logs have forgotten it too."""
REMEMBERED = 3_600_000 * 1000
"""Epochs are remembered for an hour: they are Unix milliseconds, with three digits of the writer's own."""

TakenBack = Callable[[int], None]


@define(eq=False)
class _Offer:
    announcement: Announcement
    taken_back: TakenBack
    until: float
    is_asked: bool = False
    is_shown: bool = False
    is_over: bool = False
    call: IDelayedCall | None = None

    @property
    def msn(self) -> int:
        told = self.announcement
        return told.segment.msn if isinstance(told, SegmentAnnounced) else 0


@define(eq=False)
class Offers:
    """
    The announcements of one stream. ``accept`` offers one to the bus; it fails with `Superseded` if somebody else may
    have the number, and with anything else where the bus does not answer. ``show`` tells who asks this node.

    What the bus accepts is shown, and what it has not answered for `SHOWN_S` seconds too. What was shown is never taken
    back, and is offered again until the bus has it. While that does not answer, it is tried with the oldest alone.
    """

    accept: Callable[[Announcement], Deferred[None]]
    show: Callable[[Announcement], object]
    clock: IReactorTime
    _open: list[_Offer] = field(factory=list, init=False)
    _shown: dict[int, int] = field(factory=dict, init=False)
    _retry: IDelayedCall | None = field(default=None, init=False)

    def add(self, announcement: Announcement, taken_back: TakenBack, *, at_once: bool = False) -> None:
        """
        Announce, and show it ``at_once`` or when that is due.

        If it is refused before it was shown, it never will be, nor any later number of its epoch:
        ``taken_back(epoch)`` is called for each, with the epoch that is younger.
        """
        offer = _Offer(announcement, taken_back, self.clock.seconds() + OFFERED_S)
        self._open.append(offer)
        if at_once:
            self._show(offer)
        else:
            offer.call = self.clock.callLater(SHOWN_S, self._show, offer)
        self._offer(offer)

    @property
    def has_unshown(self) -> bool:
        """Whether something has a number and was not shown yet, which takes `SHOWN_S` at most."""
        return any(not offer.is_shown for offer in self._open)

    def has_shown(self, epoch: int, msn: int) -> bool:
        """Whether a number of an epoch, or a later one of it, was shown in any rendition."""
        return msn <= self._shown.get(epoch, -1)

    def show_all(self) -> None:
        """Show everything that was given a number."""
        for offer in list(self._open):
            self._show(offer)

    def stop(self) -> None:
        """Offer nothing more."""
        for offer in list(self._open):
            self._close(offer)

    def _offer(self, offer: _Offer) -> Deferred[bool]:
        """Return whether the bus has answered."""
        offer.is_asked = True
        offered = self.accept(offer.announcement)
        return offered.addCallbacks(lambda _: self._accepted(offer), lambda failure: self._refused(failure, offer))

    def _accepted(self, offer: _Offer) -> bool:
        if not offer.is_over:
            self._show(offer)
            self._close(offer)
        return True

    def _refused(self, failure: Failure, offer: _Offer) -> bool:
        error, offer.is_asked = failure.value, False
        if isinstance(error, Superseded) and not (offer.is_shown or offer.is_over):
            self._take_back(offer, error.epoch)
        elif not offer.is_over and self._retry is None:
            self._retry = self.clock.callLater(RETRY_S, self._try_again)
        return isinstance(error, Superseded)

    def _try_again(self) -> None:
        self._retry = None
        for offer in [offer for offer in self._open if self.clock.seconds() >= offer.until]:
            self._close(offer)
        if waiting := [offer for offer in self._open if not offer.is_asked]:
            self._offer(waiting[0]).addCallback(self._offer_rest, waiting[1:])

    def _offer_rest(self, bus_answers: bool, rest: Sequence[_Offer]) -> None:
        for offer in rest if bus_answers else ():
            if not (offer.is_over or offer.is_asked):
                self._offer(offer)

    def _take_back(self, refused: _Offer, epoch: int) -> None:
        number = refused.announcement.epoch.number
        for offer in list(self._open):
            is_later = offer.announcement.epoch.number == number and offer.msn >= refused.msn
            if offer is refused or (is_later and not offer.is_shown):
                self._close(offer)
                offer.taken_back(epoch)

    def _show(self, offer: _Offer) -> None:
        if not offer.is_shown:
            offer.is_shown = True
            offer.taken_back = _never
            number = offer.announcement.epoch.number
            self._shown = {epoch: msn for epoch, msn in self._shown.items() if epoch > number - REMEMBERED}
            self._shown[number] = max(self._shown.get(number, 0), offer.msn)
            self.show(offer.announcement)

    def _close(self, offer: _Offer) -> None:
        offer.is_over = True
        self._open.remove(offer)
        if offer.call is not None and offer.call.active():
            offer.call.cancel()
        if not self._open and self._retry is not None:
            self._retry.cancel()
            self._retry = None


def _never(epoch: int) -> None:
    """What was shown is never taken back: what that would need, the segment's bytes, is not kept."""
