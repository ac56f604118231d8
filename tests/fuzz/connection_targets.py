"""Connections: the header of the PROXY protocol, and RTMP from admission to cleanup after the disconnect."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from ipaddress import ip_address

from attrs import define
from twisted.internet.defer import Deferred

from livestream.metrics import Metrics
from livestream.model.admission import Reason, Refusal
from livestream.net.address_limits import group_of
from livestream.net.proxy_protocol import MAX_BYTES, ProxyPreface
from livestream.net.rtmp.connection import RtmpConnection
from livestream.net.rtmp.limits import RtmpLimits
from livestream.net.rtmp.requests import RtmpRequest
from livestream.rtmp.chunks import ChunkLimits
from tests.fuzz.bounds import held_bytes
from tests.fuzz.choices import Choices, pieces
from tests.fuzz.faults import no_faults
from tests.fuzz.rtmp_targets import HANDSHAKE, OUT_BASE_BYTES, OUT_BYTES, SERVER_PRELUDES
from tests.net.rtmp.test_connection import Door, Scene, Sink

LIMITS = RtmpLimits(chunks=ChunkLimits(message_bytes=8192, command_bytes=2048, chunk_streams=8))
HELD_BYTES = 32 << 10
"""Memory that a closed connection may keep."""


def _refusal() -> Refusal:
    """A new one each time, for an exception keeps the tracebacks of all its raises."""
    return Refusal(Reason.IN_USE, "another name")


@define(eq=False)
class _Door(Door):
    """Accepts or refuses publishers, at once or later, and players."""

    refuses_players: bool = False

    def play(self, request: RtmpRequest, connection: RtmpConnection) -> Sink:
        if self.refuses_players:
            raise _refusal()
        return super().play(request, connection)


@cache
def _metrics() -> Metrics:
    return Metrics()


def rtmp_connection(data: bytes) -> None:
    """
    Any bytes from a peer cause no internal error, and after the disconnect no memory, timer or count remains.

    Input: prelude, split pattern, admission (bits: later, refused, players refused), bytes from the peer.
    """
    choices = Choices(data)
    prelude, pattern, admits = choices.pick(SERVER_PRELUDES), choices.number(), choices.number()
    hesitates: Deferred[None] | None = Deferred() if admits & 1 else None
    door = _Door(hesitates=hesitates, refusal=_refusal() if admits & 2 else None, refuses_players=bool(admits & 4))
    scene = Scene(door, LIMITS, metrics=_metrics())
    with no_faults():
        peer = scene.connect()
        sent = choices.rest()
        for number, part in enumerate(pieces(HANDSHAKE + prelude + sent, pattern)):
            if peer.is_closing:
                break
            peer.connection.dataReceived(part)
            scene.clock.advance(0 if number % 4 else 0.01)
        if hesitates is not None and not hesitates.called:
            hesitates.callback(None)
        scene.clock.advance(0.1)
        answered = len(peer.transport.value())
        assert answered <= len(HANDSHAKE) + OUT_BASE_BYTES + OUT_BYTES * (len(prelude) + len(sent)), answered
        assert 0 <= scene.factory.unserved_bytes <= 2 * len(data) + (64 << 10)
        peer.connection.connectionLost()
    assert scene.factory.unserved_bytes == 0
    assert not scene.clock.getDelayedCalls()
    peer.transport.clear()
    door.sink.got.clear()
    assert held_bytes(peer.connection._session) <= HELD_BYTES


def proxy_header(data: bytes) -> None:
    """
    Any bytes give the same address and rest, the same error, or wait for more, however they are split.

    Input: split pattern, bytes of the connection.
    """
    choices = Choices(data)
    pattern, sent = choices.number(), choices.rest()
    whole = _preface([sent])
    assert _preface(pieces(sent, pattern or 1)) == whole
    if whole is None:
        assert len(sent) < MAX_BYTES
    elif isinstance(whole, tuple):
        address, rest = whole
        assert sent.endswith(rest) and len(sent) - len(rest) <= MAX_BYTES
        assert not address or (str(ip_address(address)) == address and group_of(address))


def _preface(parts: Iterable[bytes]) -> tuple[str, bytes] | str | None:
    """The client's address and the rest, an error, or ``None`` for an incomplete header."""
    results: list[tuple[str, bytes] | str] = []
    preface = ProxyPreface(lambda address, rest: results.append((address, rest)), results.append)
    for part in parts:
        match results:
            case []:
                preface.receive(part)
            case [(address, rest)]:
                results = [(address, rest + part)]
    assert len(results) <= 1
    return results[0] if results else None
