"""Announcements and states as JSON: both ways, and nothing else is let in."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.bus.announcements import (
    LARGEST_BYTES,
    InvalidMessage,
    decode,
    decode_state,
    decode_states,
    encode,
    encode_state,
    state_fields,
)
from livestream.model import Announcement, ObjectInfo, RenditionInfo, Segment, SegmentAnnounced, StreamEnded
from livestream.packaging.window import RenditionState, StreamState

EPOCH = 1_799_999_000_000
INFO = RenditionInfo("720p", "avc1.64001f,mp4a.40.2", 2_500_000, 2_000_000, 1280, 720, 29.97)
INIT = ObjectInfo(f"{EPOCH}-init-0.mp4", 800, "0" * 64)
SEGMENT = Segment(7, 2, EPOCH + 3000, 3000, ObjectInfo(f"{EPOCH}-7.m4s", 1000, "ab" * 32), INIT, False)
GAP = Segment(8, 2, EPOCH + 6000, 3000, None, None)
ANNOUNCED = SegmentAnnounced("show", EPOCH, 3, INFO, SEGMENT)
STATE = StreamState("show", EPOCH, 3, True, (RenditionState(INFO, (SEGMENT, GAP)),))


@pytest.mark.parametrize(
    "announcement",
    [
        ANNOUNCED,
        attrs.evolve(ANNOUNCED, segment=GAP),
        attrs.evolve(ANNOUNCED, node="ingest-1.example"),
        StreamEnded("show", 1, 9),
    ],
)
def test_an_announcement_comes_back_as_it_was(announcement: Announcement) -> None:
    assert decode(encode(announcement)) == announcement


def test_a_state_comes_back_as_it_was() -> None:
    assert decode_state(encode_state(STATE)) == STATE
    assert decode_state(encode_state(attrs.evolve(STATE, node="ingest-1"))).node == "ingest-1"
    many = json.dumps({"v": 1, "streams": [state_fields(STATE), state_fields(STATE)]}).encode()
    assert decode_states(many) == [STATE, STATE]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("v", 2),
        ("stream", "../etc"),
        ("stream", None),
        ("epoch", -1),
        ("epoch", True),
        ("epoch", 1.5),
        ("target", 61),
        ("node", "n" * 65),
        ("node", "a b"),
        ("node", None),
        ("node", 7),
        ("rendition", []),
        ("rendition.name", "huge"),
        ("rendition.codecs", 'avc1"\n#EXT-X-ENDLIST'),
        ("rendition.rate", "x"),
        ("rendition.rate", float("nan")),
        ("segment.msn", None),
        ("segment.ms", 3501),
        ("segment.media", ["../../x.m4s", 1, "a" * 64]),
        ("segment.media", ["1-1.m4s", 0, "a" * 64]),
        ("segment.media", ["1-1.m4s", 1, "a"]),
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


def test_segments_out_of_order_are_an_invalid_message() -> None:
    state = attrs.evolve(STATE, renditions=(RenditionState(INFO, (GAP, SEGMENT)),))
    with pytest.raises(InvalidMessage, match="not in order"):
        decode_state(encode_state(state))


@pytest.mark.parametrize("data", [b" " * LARGEST_BYTES + encode(ANNOUNCED), b"[" * 10_000], ids=["long", "deep"])
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
    for read in (decode, decode_state, decode_states):
        with suppress(InvalidMessage):
            read(data)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(["v", "stream", "epoch", "target", "rendition", "segment", "ended", "node"]), JSON)
def test_any_value_in_any_field_is_read_or_is_an_invalid_message(key: str, value: Any) -> None:
    fields = {**json.loads(encode(ANNOUNCED)), key: value}
    with suppress(InvalidMessage):
        read = decode(json.dumps(fields).encode())
        assert decode(encode(read)) == read
