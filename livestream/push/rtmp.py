"""Viewers over RTMP, and downstream relays: how they are admitted, and told of the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.model.admission import PlayRequest, PushProtocol, Reason, Refusal
from livestream.model.names import APP, SOURCE
from livestream.net.rtmp.connection import RtmpConnection
from livestream.net.rtmp.requests import RtmpRequest
from livestream.push.relay_admission import RelayAdmission
from livestream.push.session import PlaybackSession
from livestream.push.viewer_admission import ViewerAdmission


@define(eq=False)
class RtmpViewer:
    """One player (a ``PlaySession``), from its request on."""

    connection: RtmpConnection
    chunk_bytes: int
    _admission: Deferred[None] | None = field(default=None, init=False)
    _session: PlaybackSession | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def begin(self, admission: Deferred[PlaybackSession]) -> None:
        """Play as soon as the viewer is admitted."""
        self._admission = admission.addCallback(self._play)
        self._admission.addErrback(self._refuse)

    def paused(self, paused: bool) -> None:
        if self._session is not None:
            self._session.pause(paused)

    def wrote(self) -> None:
        if self._session is not None:
            self._session.wrote()

    def at_key_frame(self, action: Callable[[], None]) -> None:
        if self._session is not None:
            self._session.at_key_frame(action)
        else:
            action()

    def lost(self, reason: str) -> None:
        if self._session is not None:
            self._session.leave()
        elif self._admission is not None:
            self._admission.cancel()

    def over(self) -> None:
        if self._session is not None:
            self._session.leave()
        self.connection.end()

    def _play(self, session: PlaybackSession) -> None:
        self._session = session
        self.connection.accept_play(self.chunk_bytes)
        session.play(self.connection.transport, self)

    def _refuse(self, failure: Failure) -> None:
        if isinstance(failure.value, Refusal):
            self.connection.refuse(failure.value)
        elif not isinstance(failure.value, CancelledError):
            self.log.failure("failed to admit a player", failure)
            self.connection.close("internal error")


@define(eq=False)
class RtmpPlaying:
    """Admits players (the ``Playing`` of an RTMP port)."""

    admission: ViewerAdmission
    relays: RelayAdmission

    @property
    def audience(self) -> int:
        return self.admission.feeds.audience

    def play(self, request: RtmpRequest, connection: RtmpConnection) -> RtmpViewer:
        """
        Begin to admit a viewer of the application `APP`, or a relay, which gets the clock with the stream.

        :raises Refusal: another application, or no relay.
        """
        protocol = PushProtocol.RELAY if self.relays.is_relay(request) else PushProtocol.RTMP
        rendition = request.query.get("rendition", SOURCE)
        play = PlayRequest(request.name, rendition, request.query, request.address, protocol)
        if request.app != APP:
            self.admission.log_refused(play)
            raise Refusal(Reason.UNKNOWN_PATH, f"unknown application: play rtmp://HOST/{APP}/STREAM")
        viewer = RtmpViewer(connection, self.admission.feeds.limits.chunk_bytes)
        viewer.begin(Deferred.fromCoroutine(self.admission.admit(play)))
        return viewer
