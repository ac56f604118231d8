"""Which epoch owns a media sequence number, and which numbers a node has promised to refuse to older epochs."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field, frozen

from livestream.model.segments import Epoch


@frozen
class Promise:
    """
    To refuse numbers above ``last_msn`` from epochs older than ``epoch``.

    Made to a writer before it knows its first number, which replaces the promise once it is known.
    """

    epoch: int
    last_msn: int


@define(eq=False)
class Epochs:
    """
    The epochs of one stream, added in any order.

    A number belongs to the youngest epoch whose first number is not above it. So learning of more epochs can only
    assign a number to a younger epoch, never to an older one.
    """

    _known: dict[int, Epoch] = field(factory=dict, init=False)
    _promises: list[Promise] = field(factory=list, init=False)
    _settled: int = field(default=0, init=False)
    list_start: int = field(default=0, init=False)
    """No playlist lists a number below this one."""
    newest: int = field(default=0, init=False)
    """The number of the youngest epoch that is known or was promised."""

    def add(self, epoch: Epoch) -> bool:
        """Add an epoch; return whether it is new. One that was trimmed owns no number any more, and is not."""
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
        """Refuse numbers above ``last_msn`` from epochs older than ``epoch``."""
        self._promises.append(Promise(epoch, last_msn))
        self.newest = max(self.newest, epoch)

    def owns(self, epoch: Epoch, msn: int) -> bool:
        """Whether a number belongs to this epoch, as far as is known."""
        if msn < epoch.first_msn:
            return False
        return not any(other.number > epoch.number and other.first_msn <= msn for other in self._known.values())

    def refusal(self, epoch: Epoch, msn: int) -> Promise | None:
        """The promise, to a writer that has not begun yet, for which this number is refused; ``None`` if it is not."""
        for promise in self._promises:
            is_older = epoch.number < promise.epoch
            if is_older and promise.epoch not in self._known and msn > promise.last_msn:
                return promise
        return None

    def trim(self, oldest_msn: int) -> None:
        """Drop what does not affect numbers from ``oldest_msn`` on."""
        begun = (epoch.number for epoch in self._known.values() if epoch.first_msn <= oldest_msn)
        self._settled = max(begun, default=self._settled)
        self._known = {number: epoch for number, epoch in self._known.items() if number >= self._settled}
        self._promises = [promise for promise in self._promises if promise.epoch > self._settled]

    def all(self) -> Sequence[Epoch]:
        """The epochs that still own numbers, oldest first."""
        return [self._known[number] for number in sorted(self._known)]
