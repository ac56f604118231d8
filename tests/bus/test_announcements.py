"""Announcements as JSON: both ways, and nothing else is let in."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.bus.announcements import (
    MAX_MESSAGE_BYTES,
    InvalidMessage,
    UnknownKind,
    decode,
    decode_change,
    decode_document,
    decode_epochs,
    decode_position,
    encode,
    encode_change,
    encode_document,
    encode_epochs,
    encode_position,
)
from livestream.model.segments import (
    Announcement,
    Epoch,
    EpochBegan,
    ObjectInfo,
    PublisherChange,
    RenditionInfo,
    Segment,
    SegmentAnnounced,
    StreamEnded,
    StreamPosition,
)

EPOCH = 1_799_999_000_000_123
INFO = RenditionInfo("720p", "avc1.64001f,mp4a.40.2", 2_500_000, 2_000_000, 1280, 720, 29.97)
INIT = ObjectInfo(f"{EPOCH}-init-0.mp4", 800, "0" * 64)
SEGMENT = Segment(7, 2, 1_799_999_003_000, 3000, ObjectInfo(f"{EPOCH}-7.m4s", 1000, "ab" * 32), INIT, False)
GAP = Segment(8, 2, 1_799_999_006_000, 3000, None, None)
ANNOUNCED = SegmentAnnounced("show", Epoch(EPOCH, 5), 3, INFO, SEGMENT)
ALL: list[Announcement] = [
    ANNOUNCED,
    attrs.evolve(ANNOUNCED, segment=GAP),
    attrs.evolve(ANNOUNCED, node="ingest-1.example"),
    attrs.evolve(ANNOUNCED, info=attrs.evolve(INFO, video_range="HLG")),
    attrs.evolve(ANNOUNCED, epoch=Epoch(EPOCH, 5, True)),
    StreamEnded("show", Epoch(1, 3), 9),
    EpochBegan("show", Epoch(EPOCH, 5, True), "ingest-1"),
]


@pytest.mark.parametrize("announcement", ALL)
def test_an_announcement_comes_back_as_it_was(announcement: Announcement) -> None:
    assert decode(encode(announcement)) == announcement


def test_a_document_comes_back_as_it_was_and_an_empty_one_is_empty() -> None:
    assert decode_document(encode_document(ALL)) == ALL
    assert decode_document(b"") == []


def test_what_a_later_version_may_say_beside_is_left_out() -> None:
    later = {**json.loads(encode(ANNOUNCED)), "colour": "blue"}
    other = {**later, "kind": "part"}
    lines = [json.dumps(each).encode() for each in (later, other)]
    assert decode_document(b"\n".join(lines)) == [ANNOUNCED]
    with pytest.raises(UnknownKind):
        decode(lines[1])


def test_how_far_a_stream_has_come_comes_back_with_what_is_said_beside_it() -> None:
    position = StreamPosition(EPOCH, 7, 2, 1_799_999_006_000, 3, True)
    read, fields = decode_position(json.dumps({**encode_position(position), "live": True}).encode())
    assert (read, fields["live"]) == (position, True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("v", 1),
        ("v", 2.0),
        ("stream", "../etc"),
        ("stream", None),
        ("kind", None),
        ("epoch", -1),
        ("epoch", True),
        ("epoch", 1.5),
        ("first", None),
        ("target", 61),
        ("node", "n" * 65),
        ("node", "a b"),
        ("node", None),
        ("node", 7),
        ("rendition", []),
        ("rendition.name", "huge"),
        ("rendition.codecs", 'avc1"\n#EXT-X-ENDLIST'),
        ("rendition.range", "SDR\n#EXT-X-ENDLIST"),
        ("rendition.range", ["PQ"]),
        ("rendition.range", None),
        ("rendition.rate", "x"),
        ("rendition.rate", True),
        ("rendition.rate", float("nan")),
        ("rendition.rate", int("9" * 401)),
        ("rendition.bandwidth", int("9" * 401)),
        ("segment.msn", None),
        ("segment.ms", 3501),
        ("segment.at", 253_402_300_800_000),
        ("segment.media", ["../../x.m4s", 1, "a" * 64]),
        ("segment.media", ["1-1.m4s", 0, "a" * 64]),
        ("segment.media", ["1-1.m4s", 1, "a"]),
        ("segment.media", ["01-1.m4s", 1, "a" * 64]),
        ("segment.media", ["1-init-0.mp4", 1, "a" * 64]),
        ("segment.init", ["1-1.m4s", 1, "a" * 64]),
        ("segment.init", ["1-init-0.mp4", 1]),
    ],
)
def test_one_field_out_of_place_is_an_invalid_message(path: str, value: Any) -> None:
    fields = json.loads(encode(ANNOUNCED))
    *parents, key = path.split(".")
    table = fields[parents[0]] if parents else fields
    table[key] = value
    with pytest.raises(InvalidMessage):
        decode(json.dumps(fields).encode())


def test_a_target_duration_of_nothing_is_an_invalid_message() -> None:
    fields = json.loads(encode(ANNOUNCED))
    fields["target"], fields["segment"]["ms"] = 0, 400
    with pytest.raises(InvalidMessage, match="target"):
        decode(json.dumps(fields).encode())


@pytest.mark.parametrize("data", [b" " * MAX_MESSAGE_BYTES + encode(ANNOUNCED), b"[" * 10_000], ids=["long", "deep"])
def test_what_is_too_long_or_too_deep_is_an_invalid_message(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        decode(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_an_invalid_message(data: bytes) -> None:
    for read in (decode, decode_document, decode_position):
        with suppress(InvalidMessage):
            read(data)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(["v", "stream", "epoch", "first", "kind", "target", "rendition", "segment", "node"]), JSON)
def test_any_value_in_any_field_is_read_or_is_an_invalid_message(key: str, value: Any) -> None:
    fields = {**json.loads(encode(ANNOUNCED)), key: value}
    with suppress(InvalidMessage):
        read = decode(json.dumps(fields).encode())
        assert decode(encode(read)) == read


def test_which_streams_a_node_has_comes_back_as_it_was_however_many_they_are() -> None:
    for epochs in ({}, {f"show-{number}": EPOCH + number for number in range(2000)}):
        assert decode_epochs(encode_epochs(epochs)) == epochs


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"v":2}',
        b'{"v":1,"epochs":{}}',
        b'{"v":2,"epochs":[]}',
        b'{"v":2,"epochs":{"show":-1}}',
        b'{"v":2,"epochs":{"show":true}}',
        b'{"v":2,"epochs":{"../show":1}}',
        b'{"v":2,"epochs":{"":1}}',
        b'{"v":2,"epochs":{"show":1e300}}',
        b'{"v":2,"epochs":{"show":' + b"9" * 400 + b"}}",
        b"[" * 100_000,
    ],
    ids=range(12),
)
def test_nothing_else_says_which_streams_a_node_has(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        decode_epochs(data)


def test_that_a_publisher_has_left_is_read_as_it_was_written() -> None:
    change = PublisherChange("show", EPOCH, 3, False, 41, "ingest-1")
    assert decode_change(encode_change(change)) == change
    assert decode_change(encode_change(attrs.evolve(change, is_here=True))).is_here


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (b'"show"', b'"../show"'),
        (b'"count":3', b'"count":-3'),
        (b'"last":41', b'"last":1e99'),
        (b'"epoch":', b'"epoch":true,"x":'),
        (b'"v":2', b'"v":3'),
        (b'"ingest-1"', b"7"),
    ],
)
def test_that_a_publisher_has_left_is_read_strictly(right: bytes, wrong: bytes) -> None:
    told = encode_change(PublisherChange("show", EPOCH, 3, False, 41, "ingest-1"))
    with pytest.raises(InvalidMessage):
        decode_change(told.replace(right, wrong))
