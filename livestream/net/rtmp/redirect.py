"""A player's way to another node."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

KEY_FRAME_S = 5.0
"""A player that is to go goes at a key frame, or after so long without one."""
MOVE_S = 5.0
"""One that has been told where to go on has this long to do so."""


@define(eq=False)
class Move:
    """Has a player told where to go on, by ``tell``, and the connection closed later, by ``close``."""

    clock: IReactorTime
    tell: Callable[[], None]
    close: Callable[[], None]
    _call: IDelayedCall | None = field(default=None, init=False)
    _is_told: bool = field(default=False, init=False)

    def begin(self) -> None:
        """Wait for a key frame."""
        self._call = self.clock.callLater(KEY_FRAME_S, self.now)

    def now(self) -> None:
        """Tell the player, unless it has been told or has gone."""
        if self._call is None or self._is_told:
            return
        self._is_told = True
        self.cancel()
        self._call = self.clock.callLater(MOVE_S, self.close)
        self.tell()

    def cancel(self) -> None:
        """The player has gone by itself."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
