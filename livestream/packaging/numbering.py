"""Whose a number is: the epochs of a stream, and what a node has promised not to hear of the older ones."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field, frozen

from livestream.model.segments import Epoch


@frozen
class Promise:
    """
    No number above ``last_msn`` is taken from an epoch older than ``epoch``.

    Made to a writer before it knows its own first number, which then takes the place of ``last_msn``.
    """

    epoch: int
    last_msn: int


@define(eq=False)
class Epochs:
    """
    The epochs of one stream, in any order in which they become known.

    A number is the youngest epoch's whose first number is not above it. So who knows more epochs may know a number to
    be of a younger one, and never of an older one.
    """

    _known: dict[int, Epoch] = field(factory=dict, init=False)
    _promises: list[Promise] = field(factory=list, init=False)
    _settled: int = field(default=0, init=False)
    list_start: int = field(default=0, init=False)
    """No playlist lists a number below this one."""
    newest: int = field(default=0, init=False)
    """The number of the youngest epoch that is known, or that a promise was made to."""

    def add(self, epoch: Epoch) -> bool:
        """Take an epoch in; return whether that is news. One that was trimmed has no number any more, and is none."""
        if epoch.number < self._settled:
            return False
        known = self._known.get(epoch.number)
        if known is not None and (known.restarts_list or not epoch.restarts_list):
            return False
        self._known[epoch.number] = epoch
        self.newest = max(self.newest, epoch.number)
        if epoch.restarts_list:
            self.list_start = max(self.list_start, epoch.first_msn)
        return True

    def promise(self, epoch: int, last_msn: int) -> None:
        """Take no number above ``last_msn`` from those that are older than ``epoch``."""
        self._promises.append(Promise(epoch, last_msn))
        self.newest = max(self.newest, epoch)

    def owns(self, epoch: Epoch, msn: int) -> bool:
        """Whether a number is of this epoch, as far as is known."""
        if msn < epoch.first_msn:
            return False
        return not any(other.number > epoch.number and other.first_msn <= msn for other in self._known.values())

    def refusing(self, epoch: Epoch, msn: int) -> Promise | None:
        """The promise, to a writer that has not begun, for which a number of this epoch is not taken; often none."""
        for promise in self._promises:
            is_older = epoch.number < promise.epoch
            if is_older and promise.epoch not in self._known and msn > promise.last_msn:
                return promise
        return None

    def trim(self, oldest_msn: int) -> None:
        """Forget what has no bearing on numbers from ``oldest_msn`` on."""
        begun = (epoch.number for epoch in self._known.values() if epoch.first_msn <= oldest_msn)
        self._settled = max(begun, default=self._settled)
        self._known = {number: epoch for number, epoch in self._known.items() if number >= self._settled}
        self._promises = [promise for promise in self._promises if promise.epoch > self._settled]

    def all(self) -> Sequence[Epoch]:
        """The epochs that still matter, the oldest first."""
        return [self._known[number] for number in sorted(self._known)]
