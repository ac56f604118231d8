"""The rules of the chunk stream that have broken others, one by one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.rtmp.chunks import LARGEST_CHUNK_BYTES, ChunkLimits, ChunkReader, Message, split
from livestream.rtmp.errors import RemoteProtocolError

EXTENDED_MS = [0xFFFFFF, 0x1000000, 0xFFFFFFFF]


def head(kind: int, csid: int, time: int, length: int = 0, type_id: int = 9, stream_id: int = 1) -> bytes:
    """A basic and a message header, with an extended timestamp where it needs one."""
    fields = min(time, 0xFFFFFF).to_bytes(3, "big") + length.to_bytes(3, "big") + bytes([type_id])
    fields += stream_id.to_bytes(4, "little")
    extended = time.to_bytes(4, "big") if time >= 0xFFFFFF else b""
    return bytes([kind << 6 | csid]) + fields[: (11, 7, 3, 0)[kind]] + (extended if kind < 3 else b"")


def control(type_id: int, body: bytes, csid: int = 2) -> bytes:
    return head(0, csid, 0, len(body), type_id, 0) + body


@pytest.mark.parametrize(
    ("first", "second"),
    [(b"\x00\x00", b"\xc0\x00"), (b"\x00\x3f", b"\xc1\x3f\x00"), (b"\x01\x00\x01", b"\xc1\x00\x01")],
    ids=["64 in two bytes", "127 in two and in three bytes", "320 in three bytes"],
)
def test_a_stream_is_the_same_whichever_form_its_id_has(first: bytes, second: bytes) -> None:
    reader = ChunkReader()
    assert reader.receive(first + head(0, 0, 0, 200)[1:] + b"x" * 128) == []
    assert [len(m.body) for m in reader.receive(second + b"x" * 72)] == [200]


@pytest.mark.parametrize("time", EXTENDED_MS)
@pytest.mark.parametrize("repeats", [True, False])
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_extended_timestamps_are_read_however_the_bytes_come(time: int, repeats: bool, step: int) -> None:
    again = time.to_bytes(4, "big") if repeats else b""
    body = bytes(range(1, 201))
    data = head(0, 6, time, 200) + body[:128] + b"\xc6" + again + body[128:]
    data += head(0, 6, time, 3) + b"end"
    reader = ChunkReader()
    got = [m for at in range(0, len(data), step) for m in reader.receive(data[at : at + step])]
    assert got == [Message(9, 1, time, body), Message(9, 1, time, b"end")]


def test_an_extended_delta_is_a_delta() -> None:
    data = head(0, 6, 5, 1) + b"a" + head(1, 6, 0x1000000, 1) + b"b" + head(2, 6, 0x1000000) + b"c"
    assert [m.timestamp_ms for m in ChunkReader().receive(data)] == [5, 0x1000005, 0x2000005]


def test_time_wraps_modulo_two_to_the_32() -> None:
    data = head(0, 6, 0xFFFFFFFF, 1) + b"a" + head(1, 6, 2, 1) + b"b"
    assert [m.timestamp_ms for m in ChunkReader().receive(data)] == [0xFFFFFFFF, 1]


@pytest.mark.parametrize("kind", [1, 2])
def test_a_shorter_header_with_the_same_length_may_go_on_with_a_message(kind: int) -> None:
    data = head(0, 6, 7, 200) + b"x" * 128 + head(kind, 6, 0, 200) + b"x" * 72
    assert ChunkReader().receive(data) == [Message(9, 1, 7, b"x" * 200)]


def test_a_length_that_changes_inside_a_message_is_refused() -> None:
    reader = ChunkReader()
    reader.receive(head(0, 6, 0, 200) + b"x" * 128)
    with pytest.raises(RemoteProtocolError, match="unfinished"):
        reader.receive(head(1, 6, 0, 10_000))


@pytest.mark.parametrize("kind", [2, 3])
@pytest.mark.parametrize("csid", [b"\x06", b"\x00\x05", b"\x01\x05\x05"])
def test_a_fresh_stream_cannot_begin_with_less_than_a_type_1_header(kind: int, csid: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="without a header"):
        ChunkReader().receive(bytes([kind << 6 | csid[0]]) + csid[1:] + bytes(3))


@pytest.mark.parametrize(("size", "taken"), [(1, 1), (127, 127), (65536, 65536), (0x7FFFFFFF, LARGEST_CHUNK_BYTES)])
def test_a_chunk_size_is_taken_as_far_as_it_goes(size: int, taken: int) -> None:
    reader = ChunkReader()
    reader.receive(control(1, size.to_bytes(4, "big")))
    assert reader.chunk_bytes == taken


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x00\x00\x01", bytes(4), b"\x80\x00\x00\x00", b"\xff" * 4])
def test_a_chunk_size_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        ChunkReader().receive(control(1, body))


@pytest.mark.parametrize("csid", [2, 3, 40])
def test_a_control_message_may_come_on_any_stream(csid: int) -> None:
    reader = ChunkReader()
    reader.receive(control(1, (4096).to_bytes(4, "big"), csid))
    assert reader.chunk_bytes == 4096


@pytest.mark.parametrize("csid", [0, 5, 0xFFFFFFFF])
def test_an_abort_of_what_is_not_there_is_nothing(csid: int) -> None:
    reader = ChunkReader()
    assert reader.receive(control(2, csid.to_bytes(4, "big")) + head(0, 6, 0, 1) + b"a") == [Message(9, 1, 0, b"a")]


@pytest.mark.parametrize("body", [b"", b"\x00\x00\x06"])
def test_an_abort_that_is_cut_short_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        ChunkReader().receive(control(2, body))


def test_unfinished_messages_have_a_bound_together() -> None:
    reader = ChunkReader(ChunkLimits(message_bytes=600_000))
    reader.chunk_bytes = 599_999
    with pytest.raises(RemoteProtocolError, match="unfinished"):
        for csid in range(4, 12):
            reader.receive(head(0, csid, 0, 600_000) + bytes(599_999))


@pytest.mark.parametrize(
    ("type_id", "limit"), [(8, 8 << 20), (9, 8 << 20), (22, 8 << 20), (18, 64 << 10), (20, 64 << 10)]
)
def test_each_kind_of_message_has_its_largest_length(type_id: int, limit: int) -> None:
    assert ChunkReader().receive(head(0, 6, 0, limit, type_id)) == []
    with pytest.raises(RemoteProtocolError, match="bytes"):
        ChunkReader().receive(head(0, 6, 0, limit + 1, type_id))


@pytest.mark.parametrize("type_id", [0, 3, 8, 9, 18, 20, 22, 255])
def test_an_empty_message_is_nothing(type_id: int) -> None:
    reader = ChunkReader()
    assert reader.receive(head(0, 6, 5, 0, type_id)) == [] and not reader.has_more
    assert reader.receive(head(1, 6, 2, 1) + b"p") == [Message(9, 1, 7, b"p")]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from([4, 6, 63]), st.integers(0, 0xFFFFFFFF), st.binary(min_size=1, max_size=300)),
        max_size=5,
    ),
    st.sampled_from([1, 128, 4096]),
    st.integers(1, 50),
)
def test_what_is_split_comes_back_in_any_pieces(
    sent: list[tuple[int, int, bytes]], chunk_bytes: int, step: int
) -> None:
    messages = [Message(9, 1, time, body) for _, time, body in sent]
    data = b"".join(
        chunk
        for message, (csid, _, _) in zip(messages, sent, strict=True)
        for chunk in split(message, csid, chunk_bytes)
    )
    reader = ChunkReader()
    reader.chunk_bytes = chunk_bytes
    assert [m for at in range(0, len(data), step) for m in reader.receive(data[at : at + step])] == messages
