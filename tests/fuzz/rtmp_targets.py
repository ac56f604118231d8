"""RTMP from an untrusted peer: handshake, chunk stream, AMF0, and the sessions of both ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from math import isnan
from typing import Any

from attrs import define, field

from livestream.rtmp.amf0 import Limits, decode, encode
from livestream.rtmp.chunks import ALL_STEPS, ChunkLimits, ChunkReader, Message, split
from livestream.rtmp.client import ClientSession
from livestream.rtmp.errors import RemoteProtocolError
from livestream.rtmp.events import PlayRequested, PublishRequested, ServerEvent
from livestream.rtmp.handshake import SIZE, ClientHandshake, ServerHandshake
from livestream.rtmp.server import UNASKED_BYTES, ServerSession
from tests.fuzz.bounds import held_bytes
from tests.fuzz.choices import Choices, pieces
from tests.fuzz.chunk_reference import ReferenceReader
from tests.rtmp.reading import read_events

HANDSHAKE = b"\x03" + bytes(2 * SIZE)
"""A complete handshake of either peer."""
SMALL = ChunkLimits(message_bytes=8192, command_bytes=2048, chunk_streams=8)
"""Limits within reach of short inputs."""
STEPS = (ALL_STEPS, 1, 7, 40)
"""How much work is done per call."""
HELD_BASE_BYTES = 16 << 10
"""Memory of an idle session."""
HELD_BYTES = 64
"""Memory that a client may hold per received byte; each may be part of a header that opens a chunk stream."""
OUT_BASE_BYTES, OUT_BYTES = 8 << 10, 32
"""Bytes that a session may send, in all and per received byte."""


def handshake(data: bytes) -> None:
    """
    Any bytes give the same result however they are split, and the specified answer.

    Input: client or server, split pattern, number of zeros (2 bytes) to insert after the first byte; the bytes.
    """
    choices = Choices(data)
    is_server, pattern, zeros = choices.number() & 1, choices.number(), choices.number(2) % 4096
    sent = choices.rest()
    sent = sent[:1] + bytes(zeros) + sent[1:]
    make: Callable[[bytes], ServerHandshake | ClientHandshake] = ServerHandshake if is_server else ClientHandshake
    whole = _shake(make(b"nonce"), [sent])
    assert whole == _shake(make(b"nonce"), pieces(sent, pattern or 1))
    if whole is None:
        assert sent[0] != 3
        return
    answer, is_done, rest = whole
    assert is_done == (len(sent) > 2 * SIZE)
    assert not is_done or rest == sent[2 * SIZE + 1 :]
    if is_server:
        assert len(answer) == (2 * SIZE + 1 if len(sent) > SIZE else 0)
        if answer:
            assert answer[:1] == b"\x03" and answer[5:9] == bytes(4) and answer[SIZE + 1 :] == sent[1 : SIZE + 1]
    else:
        assert answer == (sent[1 : SIZE + 1] if is_done else b"")


def _shake(end: ServerHandshake | ClientHandshake, parts: Iterable[bytes]) -> tuple[bytes, bool, bytes] | None:
    """The answer, whether the handshake is done, and the rest; ``None`` after a protocol error."""
    answer, after = b"", b""
    for part in parts:
        if end.done:
            after += part
            continue
        try:
            answer += end.receive(part)
        except RemoteProtocolError:
            return None
    return answer, end.done, end.rest + after


def chunks(data: bytes) -> None:
    """
    Any bytes give the same messages as the reference reader, however they are split; and messages round-trip.

    Input: split pattern, flags (media taken, work per call), initial chunk size (2 bytes), chunk stream.
    """
    choices = Choices(data)
    pattern, turns, chunk_bytes = choices.number(), choices.number(), choices.number(2) or 128
    sent, takes_media = choices.rest(), turns & 1 == 0
    reference = ReferenceReader(SMALL, chunk_bytes, takes_media)
    reference.read(sent)
    expected, is_broken = reference.messages, reference.is_broken
    some_steps = STEPS[(turns >> 1) % len(STEPS)]
    for parts, steps in (([sent], ALL_STEPS), (pieces(sent, pattern or 1), some_steps)):
        reader = ChunkReader(SMALL)
        reader.chunk_bytes, reader.takes_media = chunk_bytes, takes_media
        messages, fault = _read_chunks(reader, parts, steps)
        assert fault is is_broken
        assert messages == (expected[: len(messages)] if fault else expected)
    for message in expected[:4]:
        reader = ChunkReader(SMALL)
        reader.chunk_bytes = chunk_bytes
        again, _ = _read_chunks(reader, [b"".join(split(message, 2 + pattern % 62, chunk_bytes))], ALL_STEPS)
        assert again == [message]


def _read_chunks(reader: ChunkReader, parts: Iterable[bytes], steps: int) -> tuple[list[Message], bool]:
    """The messages before a protocol error, and whether there was one."""
    messages: list[Message] = []
    for part in parts:
        try:
            messages += reader.receive(part, steps)
            while reader.has_more:
                messages += reader.receive(b"", steps)
        except RemoteProtocolError:
            return messages, True
    _check_held(reader, 0)
    return messages, False


def _check_held(end: ChunkReader | ServerSession, more: int) -> None:
    """The memory held is at most twice what is reported, plus ``more`` and that of an idle session."""
    held, reported = held_bytes(end), end.held_bytes
    assert held <= HELD_BASE_BYTES + more + 2 * reported, f"{held} bytes held, {reported} reported"


def amf0(data: bytes) -> None:
    """Any bytes are either rejected, or values within the limits that round-trip."""
    limits = Limits()
    try:
        values = decode(data, limits)
    except RemoteProtocolError:
        return
    assert _count(values, limits, 0) <= limits.items
    # Invalid UTF-8 was replaced by U+FFFD, which takes three bytes.
    encoded = encode(*values)
    assert len(encoded) <= 3 * len(data) + 16
    again = decode(encoded, Limits(string_bytes=3 * limits.string_bytes, key_bytes=3 * limits.key_bytes))
    assert _same(again, values)
    with suppress(RemoteProtocolError):
        assert _same(decode(data, Limits(depth=2, items=8, string_bytes=16, key_bytes=8)), values)


def _count(values: Iterable[Any], limits: Limits, depth: int) -> int:
    total = 0
    for value in values:
        assert depth <= limits.depth
        total += 1
        if isinstance(value, dict):
            assert all(len(key) <= limits.key_bytes for key in value)
            total += _count(value.values(), limits, depth + 1)
        elif isinstance(value, list):
            total += _count(value, limits, depth + 1)
        elif isinstance(value, str):
            assert len(value) <= limits.string_bytes
        else:
            assert value is None or isinstance(value, float | bool)
    return total


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, with NaN equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(_same, one.values(), other.values()))
    return one == other or (isinstance(one, float) and isnan(one) and isnan(other))


@define(eq=False)
class Outcome:
    """The result of a conversation."""

    events: list[str] = field(factory=list)
    out: bytes = b""
    is_fault: bool = False


def _command(*values: Any, stream_id: int = 0) -> bytes:
    return b"".join(split(Message(20, stream_id, 0, encode(*values)), 3, 128))


_CONNECT = _command("connect", 1, {"app": "live", "capsEx": 1.0})
_CREATE = _command("createStream", 2, None)
_PUBLISH = _command("publish", 3, None, "show?key=secret", "live", stream_id=1)
_PLAY = _command("play", 3, None, "show", stream_id=1)
SERVER_PRELUDES = (b"", _CONNECT + _CREATE, _CONNECT + _CREATE + _PUBLISH, _CONNECT + _CREATE + _PLAY)


def server_session(data: bytes) -> None:
    """
    Any bytes after the handshake give the same events or a protocol error however they are split, at bounded cost.

    Input: prelude, split pattern, the application's answers (a bit each), bytes from the peer.
    """
    choices = Choices(data)
    prelude, pattern, answers = choices.pick(SERVER_PRELUDES), choices.number(), choices.number()
    sent = choices.take(UNASKED_BYTES - len(prelude))  # when that limit is hit depends on the split
    whole = _serve(prelude, answers, [sent], ALL_STEPS)
    cut = _serve(prelude, answers, pieces(sent, pattern or 1), STEPS[pattern % len(STEPS)])
    assert cut.is_fault is whole.is_fault
    assert whole.is_fault or (cut.events, cut.out) == (whole.events, whole.out)


def _serve(prelude: bytes, answers: int, parts: Iterable[bytes], steps: int) -> Outcome:
    session, outcome, received = ServerSession(b"server", SMALL), Outcome(), 0
    for event in read_events(session, HANDSHAKE + prelude):
        _answer(session, event, 0)
    session.data_to_send()
    try:
        for part in parts:
            received += len(part)
            _take(session, outcome, answers, session.receive_data(part, steps))
            while session.has_more:
                _take(session, outcome, answers, session.receive_data(b"", steps))
    except RemoteProtocolError:
        outcome.is_fault = True
    _check_out(outcome, received)
    _check_held(session, SMALL.message_bytes)  # an aggregate message in progress
    session.clear()
    assert held_bytes(session) <= HELD_BASE_BYTES
    return outcome


def _take(session: ServerSession, outcome: Outcome, answers: int, events: Iterable[ServerEvent]) -> None:
    for event in events:
        outcome.events.append(repr(event))
        _answer(session, event, answers >> len(outcome.events) % 8 & 1)
    outcome.out += session.data_to_send()


def _answer(session: ServerSession, event: ServerEvent, refuses: int) -> None:
    """The application's answer to an event."""
    if not isinstance(event, PublishRequested | PlayRequested):
        return
    if refuses:
        session.refuse("NetStream.Publish.BadName", "another name")
    elif isinstance(event, PublishRequested):
        session.accept_publish()
    else:
        session.accept_play(4096)


_RESULTS = _command("_result", 1.0, None, None) + _command("_result", 2.0, None, 1.0)
CLIENT_PRELUDES = (b"", _RESULTS, _RESULTS + _command("onStatus", 0.0, None, {"code": "NetStream.Play.Start"}))


def client_session(data: bytes) -> None:
    """
    Any bytes of a server after the handshake give the same events or a protocol error, at bounded cost.

    Input: prelude, split pattern, publish or play, bytes from the server.
    """
    choices = Choices(data)
    prelude, pattern, publishes = choices.pick(CLIENT_PRELUDES), choices.number(), bool(choices.number() & 1)
    sent = choices.rest()
    whole = _play(prelude, publishes, [sent])
    cut = _play(prelude, publishes, pieces(sent, pattern or 1))
    assert cut.is_fault is whole.is_fault
    assert whole.is_fault or (cut.events, cut.out) == (whole.events, whole.out)


def _play(prelude: bytes, publishes: bool, parts: Iterable[bytes]) -> Outcome:
    session = ClientSession(b"client", "live", "rtmp://host/live", "show?relay=1", publishes, SMALL)
    outcome, received = Outcome(), 0
    session.receive_data(HANDSHAKE + prelude)
    session.data_to_send()
    try:
        for part in parts:
            received += len(part)
            outcome.events += map(repr, session.receive_data(part))
            outcome.out += session.data_to_send()
    except RemoteProtocolError:
        outcome.is_fault = True
    _check_out(outcome, received)
    held = held_bytes(session)
    assert held <= HELD_BASE_BYTES + HELD_BYTES * received, f"{held} bytes are held of {received}"
    return outcome


def _check_out(outcome: Outcome, received: int) -> None:
    assert len(outcome.out) <= OUT_BASE_BYTES + OUT_BYTES * received, f"{len(outcome.out)} bytes out for {received}"
