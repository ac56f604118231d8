"""What a connection knows of the player that it serves."""

from __future__ import annotations

from attrs import define, field

from livestream.net.rtmp.redirect import Move
from livestream.net.rtmp.requests import PlayRequest, PlaySession

UNANSWERED_PINGS = 2
"""A paused player that has not answered so many is closed. One that is sent media need not answer, and some do not."""


@define(eq=False)
class ConnectedPlayer:
    """A peer that plays, from when it is taken until it has gone or plays no more."""

    request: PlayRequest
    session: PlaySession
    _is_paused: bool = field(default=False, init=False)
    _unanswered: int = field(default=0, init=False)
    _move: Move | None = field(default=None, init=False)

    def pause(self, is_paused: bool) -> None:
        """The player wants no media for now, or wants it again."""
        self._is_paused = is_paused
        self.session.paused(is_paused)

    @property
    def is_redirected(self) -> bool:
        return self._move is not None

    def redirect(self, move: Move) -> None:
        """Have the player go elsewhere, at the next key frame."""
        self._move = move
        move.begin()
        self.session.at_key_frame(move.now)

    def is_silent(self, *, has_answered: bool) -> bool:
        """Whether nothing shows any more that it is there; asked once for each ping, before the next is sent."""
        self._unanswered = self._unanswered + 1 if self._is_paused and not has_answered else 0
        return self._unanswered >= UNANSWERED_PINGS

    def lost(self, reason: str) -> None:
        """The player has gone, or plays no more."""
        if self._move is not None:
            self._move.cancel()
        self.session.lost(reason)
