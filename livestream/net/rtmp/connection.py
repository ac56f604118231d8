"""One RTMP peer on a Twisted transport: its deadlines and limits, and who is asked what it wants."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.model.admission import REFUSED, Reason, Refusal
from livestream.net.connection_pool import LIMIT
from livestream.net.direct_socket import DirectSocket, set_read_bytes
from livestream.net.proxy_protocol import ProxyPreface
from livestream.net.rtmp.limits import SMALL_BYTES
from livestream.net.rtmp.player import ConnectedPlayer
from livestream.net.rtmp.read_budget import ReadBudget
from livestream.net.rtmp.redirect import PlayerRedirect
from livestream.net.rtmp.requests import CODES, Playing, Publishing, PublishSink, RtmpRequest
from livestream.net.tcp import NODE, acknowledge_at_once, tune
from livestream.rtmp.chunks import Message
from livestream.rtmp.errors import RemoteProtocolError
from livestream.rtmp.events import (
    DataReceived,
    Paused,
    PingAnswered,
    PlayEnded,
    PlayRequested,
    PublishEnded,
    PublishRequested,
    ServerEvent,
)
from livestream.rtmp.server import ServerSession
from livestream.rtmp.states import BEFORE_REQUEST, ServerState

if TYPE_CHECKING:
    from livestream.net.rtmp.server import RtmpServerFactory

READ_BYTES = 1 << 19
"""So much is read of a publisher at once, so that one of 50 Mbit/s need not wait for a rest; of others, less."""
CLOSE_S = 1.0
"""A refused peer has this long to read why: some encoders wait for ever if the connection stays open."""


class RtmpConnection(TwistedProtocol):
    """
    One peer: a publisher, a player, or a relay of the tier below.

    With ``is_proxied`` the first bytes are a proxy's, which tells the peer's address.
    """

    log: ClassVar[Logger] = Logger()
    transport: Any

    def __init__(self, factory: RtmpServerFactory, peer: str, is_proxied: bool = False) -> None:
        self.factory: RtmpServerFactory = factory
        self.peer = peer
        self.group = ""
        if is_proxied:
            self.dataReceived = ProxyPreface(self._begin, self._no_header).receive  # type: ignore[method-assign]
        self._session = ServerSession(os.urandom(16), factory.limits.chunks)
        self._sink: PublishSink | None = None
        self._player: ConnectedPlayer | None = None
        self._deadline: IDelayedCall | None = None
        self._admission: Deferred[None] | None = None
        self._held = b""
        self._resting: IDelayedCall | None = None  # until when nothing more is read of the peer
        self._budget = ReadBudget(factory.clock)
        self._held_bytes = 0
        self._reason = ""
        self._is_over = False
        self._heard = False
        self._has_shaken_hands = False
        self._has_spoken = False
        self._is_logged = False
        self._direct: DirectSocket | None = None

    def connectionMade(self) -> None:
        tune(self.transport, NODE)
        self._direct = DirectSocket.of(self.transport)
        if self._direct is not None:
            self.factory.adopt(self._direct)
        self._set_deadline(self.factory.limits.handshake_s, "the handshake timed out")

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        self._heard = True
        if self._admission is not None or self._resting is not None:  # reading is paused, but TLS may hold some more
            self._held += data
            return
        if self._has_spoken and self._sink is not None:
            self._has_spoken = False
            acknowledge_at_once(self.transport)
        self._read(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_over = True
        self._cancel_deadline()
        self._reason = self._reason or reason.getErrorMessage()
        self._leave(self._reason)
        self._release()
        self.factory.gone(self, self._direct)
        if self._is_logged:
            self.log.info("{peer}: RTMP connection closed: {reason}", peer=self.peer, reason=self._reason)

    # What publishing and playing ask of a connection

    def accept_play(self, chunk_bytes: int) -> None:
        """Accept the play: its media follows on the transport, in chunks of ``chunk_bytes``."""
        if self._is_over:
            return
        self._is_logged = True
        self._session.accept_play(chunk_bytes)
        self.factory.pool.serve(self)
        self._flush()
        self._set_deadline(self.factory.limits.ping_s, "")

    def refuse(self, refusal: Refusal) -> None:
        """
        Refuse the publisher or the player, in the codes of RTMP, and close.

        Only publishers are logged, and nothing that they typed. Anybody can have plays refused: whoever refuses
        them logs how many.
        """
        for_publisher, for_player = CODES[refusal.reason]
        is_play = self._session.state is ServerState.PLAY_ASKED
        self.factory.metrics.limit_hit(refusal.limit)
        self._is_logged = refusal.limit == REFUSED and not is_play
        self._session.refuse(for_player if is_play else for_publisher, refusal.message)
        self.close(f"refused: {refusal.message}")

    def warn(self, text: str) -> None:
        """Tell the publisher that something of its media is not served; it continues."""
        if self._sink is not None:
            self._session.warn(text)
            self._flush()

    def redirect(self, url: str) -> None:
        """
        Redirect the player to ``url``, ``rtmp://HOST:PORT/APP``: at a key frame; the connection is closed later.

        Nothing happens when the peer does not play, or has been redirected before.
        """
        player = self._player
        if player is None or player.is_redirected:
            return

        def send() -> None:
            self.factory.metrics.push_redirects.labels("playing").inc()
            self._session.request_reconnect(url, player.request.path)
            self._flush()

        player.redirect(PlayerRedirect(self.factory.clock, send, lambda: self.close(f"redirected to {url}")))

    @property
    def played(self) -> RtmpRequest | None:
        """What the peer plays, if it plays."""
        return None if self._player is None else self._player.request

    def end(self) -> None:
        """Announce that the broadcast is over, and close."""
        self._session.end_play()
        self.close("the broadcast is over")

    def close(self, reason: str) -> None:
        """End the connection after what is still to be sent."""
        if self._is_over:
            return
        self._flush()
        self._reason = reason
        self._is_over = True
        self._cancel_deadline()
        self._leave(reason)
        self._release()
        self.transport.loseConnection()
        self._deadline = self.factory.clock.callLater(CLOSE_S, self._abort)

    def abort(self, reason: str) -> None:
        """End the connection now, whatever is still to be sent."""
        self.close(reason)
        self._abort()

    # Inside

    def _begin(self, address: str, data: bytes) -> None:
        """Take the peer's address from a proxy's header; what follows is the peer's own."""
        del self.dataReceived
        self.peer = address or self.peer
        if not self.factory.pool.tell(self, self.peer):
            self.abort("too many connections from its address")
        elif data:
            self.dataReceived(data)

    def _no_header(self, reason: str) -> None:
        self.factory.addresses.warn_of_proxy(self.peer, reason)
        self.abort(f"no PROXY header: {reason}")

    def _read(self, data: bytes) -> None:
        """Read on, for the steps of one turn at most, or up to a request that cannot be answered yet."""
        session = self._session
        last_step = session.steps + self._budget.turn_steps
        try:
            while True:
                for event in session.receive_data(data, last_step - session.steps):
                    if type(event) is Message and self._sink is not None:
                        extra_steps = self._sink.media(event.type_id, event.timestamp_ms, event.body)
                        if extra_steps:
                            self._budget.charge(extra_steps)
                    else:
                        self._act_on(event)
                    if self._is_over:
                        return
                if self._admission is not None or not session.has_more or session.steps >= last_step:
                    break
                data = b""
            self._flush()
            self._finish_turn()
        except Exception as error:
            self._fail(error)

    def _finish_turn(self) -> None:
        """Pay for what has been read, and read on later if there is more."""
        session = self._session
        if not self._has_shaken_hands and session.has_shaken_hands:
            self._has_shaken_hands = True
            if session.state in BEFORE_REQUEST:
                self._expect_request()
        if self._admission is not None:
            return
        wait_s = self._budget.spend(session.steps)
        if self._sink is None:
            self._limit_unserved(wait_s)
        if wait_s or session.has_more:
            self._rest(wait_s)

    def _limit_unserved(self, wait_s: float) -> None:
        """
        Apply the limits to a peer that does not publish.

        :raises RemoteProtocolError: it sends faster than it may; or holds too much, as all do together.
        """
        factory = self.factory
        if wait_s:
            raise RemoteProtocolError("too many messages per second", "message_rate")
        self._account(self._session.held_bytes)
        if factory.unserved_bytes > factory.limits.unserved_bytes and self._held_bytes > SMALL_BYTES:
            raise RemoteProtocolError("too many unprocessed bytes in all connections together", "unserved_bytes")

    def _rest(self, wait_s: float) -> None:
        """Read on in a later turn, since there is more, or in ``wait_s`` seconds, since a publisher was too fast."""
        if wait_s:
            self.factory.metrics.limit_hit("publisher_rate")
        self.transport.pauseProducing()
        self._resting = self.factory.clock.callLater(wait_s, self._read_on)

    def _read_on(self, _: None = None) -> None:
        """Read on after a rest, or once a publisher has been let in."""
        self._admission = self._resting = None
        self.transport.resumeProducing()
        self._read(b"")
        held, self._held = self._held, b""
        if held:
            self.dataReceived(held)

    def _account(self, held_bytes: int) -> None:
        """Account for the memory held for a peer that does not publish."""
        self.factory.unserved_bytes += held_bytes - self._held_bytes
        self._held_bytes = held_bytes

    def _release(self) -> None:
        """Release all memory held for the peer, however long this object itself may stay."""
        if self._resting is not None and self._resting.active():
            self._resting.cancel()
        self._resting = None
        self._held = b""
        self.__dict__.pop("dataReceived", None)
        self._session.clear()
        self._account(0)

    def _act_on(self, event: ServerEvent) -> None:
        match event:
            case DataReceived(timestamp_ms, name, values):
                if self._sink is not None:
                    self._sink.data(timestamp_ms, name, values)
            case PublishRequested() | PlayRequested():
                self._ask(event)
            case Paused(is_paused):
                if self._player is not None:
                    self._player.pause(is_paused)
            case PublishEnded():
                self._leave("unpublished", is_orderly=True)
                self._expect_request()
            case PlayEnded():
                self._leave("stopped")
                self._expect_request()
            case Message() | PingAnswered():
                pass

    def _ask(self, event: PublishRequested | PlayRequested) -> None:
        self._cancel_deadline()
        request = RtmpRequest(event.app, event.name, event.query, self.peer)
        try:
            if isinstance(event, PublishRequested):
                self._publish(request)
            elif self.factory.playing is None:
                raise Refusal(Reason.NOT_ALLOWED, "this port accepts publishers only")
            else:
                self._play(request, self.factory.playing)
        except Refusal as refusal:
            self.refuse(refusal)

    def _publish(self, request: RtmpRequest) -> None:
        if self.factory.publishing is None:
            raise Refusal(Reason.NOT_ALLOWED, "this port does not accept publishers; publish to an ingest")
        admission = Deferred.fromCoroutine(self._admit(request, self.factory.publishing))
        if not admission.called:
            self._admission = admission
            self.transport.pauseProducing()
            admission.addCallbacks(self._read_on, self._not_admitted)
        else:
            admission.addErrback(self._not_admitted)

    async def _admit(self, request: RtmpRequest, publishing: Publishing) -> None:
        self._sink = await publishing.publish(request, self)
        self.factory.pool.publishers += 1
        self.factory.pool.serve(self)
        set_read_bytes(self.transport, READ_BYTES)
        self._budget.begin_publishing()
        self._account(0)
        self._is_logged = True
        self._session.accept_publish()
        self.log.info("{peer} publishes {stream}", peer=self.peer, stream=request.name)
        self._set_deadline(self.factory.limits.silence_s, "the publisher stopped sending")

    def _not_admitted(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, Refusal):
            self.refuse(error)
        elif isinstance(error, Exception) and not isinstance(error, CancelledError):
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """End the connection, and no other, for an error that its bytes caused."""
        if isinstance(error, RemoteProtocolError):
            self.factory.metrics.limit_hit(error.limit or "rtmp_protocol")
            self.close(str(error))
        else:
            self.log.failure("{peer}: internal error", Failure(error), peer=self.peer)
            self.close("internal error")

    def _play(self, request: RtmpRequest, playing: Playing) -> None:
        if not self.factory.has_room_for_players:
            raise Refusal(Reason.TOO_MANY_VIEWERS, "this server has no room for more players", LIMIT)
        url = self.factory.elsewhere(request)
        if url is None:
            player = ConnectedPlayer(request, playing.play(request, self))
            if self._is_over:  # refused at once
                player.lost(self._reason)
            else:
                self._player = player
            return
        self.factory.metrics.push_redirects.labels("asking").inc()
        self._session.redirect(url, request.path)
        self.close(f"redirected to {url}")

    def _leave(self, reason: str, *, is_orderly: bool = False) -> None:
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.cancel()
        sink, self._sink = self._sink, None
        if sink is not None:
            self.factory.pool.publishers -= 1
            self._budget.end_publishing()
        player, self._player = self._player, None
        try:
            if sink is not None:
                sink.lost(reason, is_over=is_orderly)
            if player is not None:
                player.lost(reason)
        except Exception:
            self.log.failure("{peer}: internal error while disconnecting", peer=self.peer)

    def _expect_request(self) -> None:
        self.factory.pool.unserve(self)
        self._set_deadline(self.factory.limits.request_s, "no publish or play before the timeout")

    def _set_deadline(self, seconds: float, reason: str) -> None:
        """Look again in so many seconds: a peer that should have spoken is closed, a player is sent a ping."""
        self._cancel_deadline()
        self._heard = False
        self._deadline = self.factory.clock.callLater(seconds, self._due, seconds, reason)

    def _due(self, seconds: float, reason: str) -> None:
        if self._sink is not None and self._heard:
            self._session.begin_period()
            self._set_deadline(seconds, reason)
        elif self._player is not None and self._player.is_silent(
            has_answered=self._heard and (self._direct is None or self._direct.is_free())
        ):
            self.factory.metrics.limit_hit("silent_player")
            self.abort("paused, and did not answer pings")
        elif self._player is not None:
            self._session.begin_period()
            self._session.ping(int(self.factory.clock.seconds() * 1000))
            self._flush()
            self._set_deadline(seconds, reason)
        else:
            self.factory.metrics.limit_hit("deadline")
            self.close(reason)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    def _flush(self) -> None:
        data = self._session.data_to_send()
        if data:
            self.transport.write(data)
            if self._player is not None:
                self._player.session.wrote()
            self._has_spoken = True

    def _abort(self) -> None:
        self.transport.abortConnection()
