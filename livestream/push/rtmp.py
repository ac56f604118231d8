"""RTMP players: what they may ask for, and how they are let in and sent home."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from livestream.model.names import APP, SOURCE
from livestream.net.rtmp.connection import RtmpConnection
from livestream.net.rtmp.requests import PlayRequest, Refused
from livestream.push.feed import NotLive, Wire
from livestream.push.feeds import Feeds
from livestream.push.relay_admission import RelayAdmission
from livestream.push.session import Visit, visit

NOT_FOUND = "NetStream.Play.StreamNotFound"


@define(eq=False)
class RtmpSeat:
    """One player (a ``PlaySession``)."""

    connection: RtmpConnection
    visit: Visit
    chunk_bytes: int

    def wait(self) -> None:
        """Watch as soon as there is something to watch."""
        self.visit.ready().addCallbacks(self._begin, self._refuse)

    def paused(self, paused: bool) -> None:
        self.visit.pause(paused)

    def wrote(self) -> None:
        self.visit.wrote()

    def at_key_frame(self, action: Callable[[], None]) -> None:
        self.visit.at_key_frame(action)

    def lost(self, reason: str) -> None:
        self.visit.leave()

    def over(self) -> None:
        self.visit.leave()
        self.connection.end()

    def _begin(self, _: None) -> None:
        self.connection.accept_play(self.chunk_bytes)
        self.visit.watch(self.connection.transport, self)

    def _refuse(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self.connection.refuse(NOT_FOUND, str(failure.value))


@define(eq=False)
class RtmpPlay:
    """Lets players in (the ``Playing`` of an RTMP port)."""

    feeds: Feeds
    relays: RelayAdmission

    @property
    def visitors(self) -> int:
        return self.feeds.visitors

    def play(self, request: PlayRequest, connection: RtmpConnection) -> RtmpSeat:
        """
        Begin to play, now or when the broadcast begins. A relay gets the clock with it, and is not made to wait.

        :raises Refused: there is no such stream, or it is not for this peer, in words for the viewer.
        """
        is_relay = self.relays.is_relay(request)
        if request.app != APP:
            self.feeds.note_refused(request.name, Wire.RTMP, request.address)
            raise Refused(NOT_FOUND, f"another application than {APP}: play rtmp://HOST/{APP}/STREAM")
        wire, rendition = Wire.RELAY if is_relay else Wire.RTMP, request.query.get("rendition", SOURCE)
        limits = self.feeds.limits
        wait_s = 0.0 if is_relay else limits.wait_s
        try:
            stay = visit(self.feeds, request.name, rendition, wire, request.address, wait_s)
        except NotLive as error:
            raise Refused(NOT_FOUND, str(error)) from None
        seat = RtmpSeat(connection, stay, limits.chunk_bytes)
        seat.wait()
        return seat
