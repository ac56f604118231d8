"""Redirecting a player to another node while it plays."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

KEY_FRAME_S = 5.0
"""A player is redirected at a key frame, or after so long without one."""
RECONNECT_S = 5.0
"""A player that has been redirected has this long to reconnect before it is closed."""


@define(eq=False)
class PlayerRedirect:
    """Redirects a player once, by ``send``, and closes its connection later, by ``close``."""

    clock: IReactorTime
    send: Callable[[], None]
    close: Callable[[], None]
    _call: IDelayedCall | None = field(default=None, init=False)
    _is_sent: bool = field(default=False, init=False)

    def begin(self) -> None:
        """Wait for a key frame."""
        self._call = self.clock.callLater(KEY_FRAME_S, self.now)

    def now(self) -> None:
        """Redirect the player, unless it has been or has left."""
        if self._call is None or self._is_sent:
            return
        self._is_sent = True
        self.cancel()
        self._call = self.clock.callLater(RECONNECT_S, self.close)
        self.send()

    def cancel(self) -> None:
        """The player has left by itself."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()
