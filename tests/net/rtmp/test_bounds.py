"""What an RTMP peer can take: memory as its bytes come, time in a turn of the reactor, and nothing once it is gone."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from livestream.net.rtmp.connection import RtmpConnection
from livestream.net.rtmp.limits import SMALL_BYTES, RtmpLimits
from livestream.net.rtmp.read_budget import PUBLISHER_BURST_S, PUBLISHER_STEPS, SHORT_TURN_STEPS, TURN_STEPS
from livestream.rtmp.chunks import MESSAGE_STEPS, Message, split
from livestream.rtmp.messages import set_chunk_size
from tests.net.loop import Loop
from tests.net.rtmp.test_connection import Peer, Scene

MIB = 1 << 20
HELLO = b"\x03" + bytes(2 * 1536)


def served(scene: Scene, *, publishes: bool) -> Peer:
    peer = scene.connect()
    peer.speak(publishes=publishes)
    return peer


def header(csid: int, length: int, type_id: int = 9) -> bytes:
    """A full chunk header of a message on message stream 1."""
    return bytes([csid, 0, 0, 0]) + length.to_bytes(3, "big") + bytes([type_id, 1, 0, 0, 0])


def set_size(chunk_bytes: int) -> bytes:
    return b"".join(split(set_chunk_size(chunk_bytes), 2, 128))


def unfinished(payload_bytes: int) -> bytes:
    """Two messages of 8 MiB, interleaved chunk by chunk of two bytes, of which so many bytes are there."""
    chunks = b"\xc4ab\xc5cd" * (payload_bytes // 4 - 1)
    return set_size(2) + header(4, 8 * MIB) + b"ab" + header(5, 8 * MIB) + b"cd" + chunks


def send(scene: Scene, peer: Peer, data: bytes) -> None:
    """Have data read in pieces, as a socket gives them, each as soon as the one before has been read."""
    for at in range(0, len(data), 65_536):
        peer.connection.dataReceived(data[at : at + 65_536])
        while peer.transport.producerState == "paused" and not peer.is_closing:
            scene.clock.advance(0.01)
        if peer.is_closing:
            return


@contextmanager
def memory() -> Iterator[list[int]]:
    """The growth of memory over the block, in bytes, as the last item of a list."""
    grown: list[int] = []
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield grown
        grown.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()


def test_what_a_player_sends_of_media_is_dropped_unread(scene: Scene) -> None:
    peer = served(scene, publishes=False)
    data = header(4, 8 * MIB) + b"\x00" * 65_536
    with memory() as grown:
        send(scene, peer, set_size(65_536) + data + (b"\xc4" + bytes(65_536)) * 10)
    assert not peer.is_closing and grown[0] < 16_384


def test_a_player_who_sends_much_is_closed(scene: Scene) -> None:
    peer = served(scene, publishes=False)
    send(scene, peer, set_size(65_536) + header(4, 8 * MIB) + b"\x00" * 65_536 + (b"\xc4" + bytes(65_536)) * 20)
    assert peer.is_closing
    assert scene.metrics.limits_hit.labels("unasked_bytes")._value.get() == 1


def test_a_publisher_holds_no_more_than_it_has_sent(scene: Scene) -> None:
    peer = served(scene, publishes=True)
    data = unfinished(65_536)
    with memory() as grown:
        send(scene, peer, data)
        assert not peer.is_closing
    assert 65_536 <= grown[0] < 1.5 * 65_536


@pytest.mark.parametrize("closes", [True, False])
def test_a_connection_that_is_over_holds_nothing_before_the_collector_looks(scene: Scene, closes: bool) -> None:
    peer = served(scene, publishes=True)
    gc.collect()
    gc.disable()
    try:
        with memory() as grown:
            send(scene, peer, unfinished(65_536))
            if closes:
                peer.connection.close("enough")
            peer.connection.connectionLost(Failure(ConnectionDone()))
    finally:
        gc.enable()
    assert grown[0] < 16_384


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize(
    "flood",
    [
        header(4, 0) * 5_000,
        header(4, 0) + b"\xc4" * 60_000,
        set_size(1) + header(4, MIB) + b"a" + header(5, MIB) + b"b" + b"\xc4a\xc5b" * 9_000,
    ],
    ids=["empty messages", "empty messages of one byte", "chunks of one byte"],
)
@pytest.mark.parametrize("is_served", [True, False])
def test_whoever_floods_a_port_with_chunks_is_closed(scene: Scene, flood: bytes, is_served: bool) -> None:
    peer = served(scene, publishes=False) if is_served else scene.connect()
    if not is_served:
        peer.connection.dataReceived(HELLO)
    send(scene, peer, flood)
    assert peer.is_closing
    assert scene.metrics.limits_hit.labels("message_rate")._value.get() == 1


def test_one_turn_reads_a_bounded_part_of_what_a_publisher_sends() -> None:
    clock = Loop()
    scene = Scene(clock=clock)
    peer = served(scene, publishes=True)
    got = scene.door.sink.got
    turns = []
    peer.connection.dataReceived(header(4, 1) + b"a" + b"\xc4a" * 3_000)
    while peer.transport.producerState == "paused":
        before = len(got)
        clock.turn()
        turns.append(len(got) - before)
        clock.rightNow += 0.001
    assert len(got) == 3_001
    assert 0 < max(turns[-20:]) <= SHORT_TURN_STEPS / MESSAGE_STEPS + 1 < max(turns) <= TURN_STEPS / MESSAGE_STEPS + 1
    assert scene.metrics.limits_hit.labels("publisher_rate")._value.get() > 0


def test_a_publisher_of_too_many_messages_is_read_slowly_and_loses_none(scene: Scene) -> None:
    peer = served(scene, publishes=True)
    seconds = 10
    messages = int(PUBLISHER_STEPS / MESSAGE_STEPS * (seconds + PUBLISHER_BURST_S))
    data = header(4, 1) + b"a" + b"\xc4a" * messages
    began = scene.clock.seconds()
    for at in range(0, len(data), 65_536):
        peer.connection.dataReceived(data[at : at + 65_536])
        while peer.transport.producerState == "paused":
            scene.clock.advance(0.001)
    assert len(scene.door.sink.got) == messages + 1 and not peer.is_closing
    assert seconds <= scene.clock.seconds() - began < seconds * 1.5
    assert scene.metrics.limits_hit.labels("publisher_rate")._value.get() > 0


def test_work_that_a_message_makes_beyond_its_bytes_slows_its_publisher_as_well(scene: Scene) -> None:
    peer = served(scene, publishes=True)
    scene.door.sink.costs = PUBLISHER_STEPS // 4
    began = scene.clock.seconds()
    send(scene, peer, (header(4, 1) + b"a") * int(4 * PUBLISHER_BURST_S + 40))
    assert 9.5 <= scene.clock.seconds() - began <= 11


def test_all_who_do_not_publish_hold_a_bounded_sum_and_small_ones_are_served_all_the_same() -> None:
    scene = Scene(limits=RtmpLimits(unserved_bytes=MIB))
    greedy = []
    for _ in range(30):
        peer = scene.connect()
        peer.connection.dataReceived(HELLO + set_size(65_536) + header(3, 60_000, 20) + bytes(59_000))
        greedy.append(peer)
    assert scene.factory.unserved_bytes <= MIB + 30 * SMALL_BYTES
    assert 10 < sum(peer.is_closing for peer in greedy) < 20
    assert not served(scene, publishes=True).is_closing
    for peer in greedy:
        peer.connection.connectionLost(Failure(ConnectionDone()))
    assert scene.factory.unserved_bytes == 0


def test_what_was_read_of_a_turn_goes_on_before_what_comes_later(scene: Scene) -> None:
    peer = served(scene, publishes=True)
    sent = [Message(9, 1, n, b"%d" % n) for n in range(400)]
    chunks = [b"".join(split(message, 6, 128)) for message in sent]
    peer.connection.dataReceived(b"".join(chunks[:300]))
    assert peer.transport.producerState == "paused"
    peer.connection.dataReceived(b"".join(chunks[300:]))
    while peer.transport.producerState == "paused":
        scene.clock.advance(0.01)
    assert scene.door.sink.got == [(9, n, b"%d" % n) for n in range(400)]


def test_a_publisher_who_goes_during_a_rest_is_read_no_more(scene: Scene) -> None:
    peer = served(scene, publishes=True)
    peer.connection.dataReceived(header(4, 1) + b"a" + b"\xc4a" * 3_000)
    got = len(scene.door.sink.got)
    peer.connection.connectionLost(Failure(ConnectionDone()))
    scene.clock.advance(1)
    assert len(scene.door.sink.got) == got
    assert isinstance(peer.connection, RtmpConnection) and scene.clock.getDelayedCalls() == []
