"""The player of a connection."""

from __future__ import annotations

from attrs import define, field

from livestream.net.rtmp.redirect import PlayerRedirect
from livestream.net.rtmp.requests import PlaySession, RtmpRequest

UNANSWERED_PINGS = 2
"""A paused player that has not answered so many is closed. One that is sent media need not answer, and some do not."""


@define(eq=False)
class ConnectedPlayer:
    """A player, from its request until it leaves or stops playing."""

    request: RtmpRequest
    session: PlaySession
    _is_paused: bool = field(default=False, init=False)
    _unanswered: int = field(default=0, init=False)
    _redirect: PlayerRedirect | None = field(default=None, init=False)

    def pause(self, is_paused: bool) -> None:
        """The player wants no media for now, or wants it again."""
        self._is_paused = is_paused
        self.session.paused(is_paused)

    @property
    def is_redirected(self) -> bool:
        return self._redirect is not None

    def redirect(self, redirect: PlayerRedirect) -> None:
        """Redirect the player at the next key frame."""
        self._redirect = redirect
        redirect.begin()
        self.session.at_key_frame(redirect.now)

    def is_silent(self, *, has_answered: bool) -> bool:
        """Whether a paused player has left too many pings unanswered; ask once for each, before the next."""
        self._unanswered = self._unanswered + 1 if self._is_paused and not has_answered else 0
        return self._unanswered >= UNANSWERED_PINGS

    def lost(self, reason: str) -> None:
        """The player has gone, or plays no more."""
        if self._redirect is not None:
            self._redirect.cancel()
        self.session.lost(reason)
