"""
What nodes write for each other keeps its meaning, so that a cluster can be upgraded node by node.

``schema/version-2.txt`` has what nodes of version 2 wrote, kept as it was: this version has to read it, and to write
nothing that those could not read. What a later version adds is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen

from livestream.bus import announcements as wire
from livestream.cluster import messages
from livestream.cluster.messages import Heartbeat
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
from livestream.signing import seal
from livestream.steering.nodes import Load, Location, Node, NodeState

KEPT = Path(__file__).parent / "schema" / "version-2.txt"
SECRET = "the secret of these tests"
EPOCH = Epoch(1_796_000_000_000_123, 7)
INFO = RenditionInfo("720p", "avc1.64001f,mp4a.40.2", 3_000_000, 2_500_000, 1280, 720, 29.97)
MEDIA = ObjectInfo("1796000000000123-9.m4s", 940_000, "ab" * 32)
INIT = ObjectInfo("1796000000000123-init-0.mp4", 900, "cd" * 32)
NODE = Node(
    "edge-1",
    "edge",
    "https://edge-1.example:8443",
    "rtmp://edge-1.example:1935",
    NodeState.READY,
    "eu-west",
    Location(52.5, 13.25),
    150_000.0,
    8000.0,
    Load(40, 12.5, 3_000_000.0, 0.75, {"hls": 30, "flv": 10}),
)


@frozen
class Kind:
    """A value, and how it is written and read."""

    value: Any
    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]


def position_bytes(position: StreamPosition) -> bytes:
    return json.dumps(wire.encode_position(position)).encode()


def heartbeat_bytes(heartbeat: Heartbeat) -> bytes:
    return messages.encode(heartbeat, SECRET).partition(b" ")[2]


def read_heartbeat(data: bytes) -> Heartbeat:
    return messages.decode(seal(data, SECRET), SECRET)


def announcement(value: Announcement) -> Kind:
    return Kind(value, wire.encode, wire.decode)


SEGMENT = Segment(9, 2, 1_796_000_006_123, 3000, MEDIA, INIT)
KINDS: dict[str, Kind] = {
    "segment": announcement(SegmentAnnounced("show", EPOCH, 3, INFO, SEGMENT, "ingest-1")),
    "dependent": announcement(
        SegmentAnnounced("show", EPOCH, 3, INFO, Segment(10, 2, 1_796_000_009_123, 3000, MEDIA, INIT, False))
    ),
    "gap": announcement(SegmentAnnounced("show", EPOCH, 3, INFO, Segment(11, 2, 1_796_000_012_123, 3000, None, None))),
    "hdr": announcement(SegmentAnnounced("show", EPOCH, 3, evolve(INFO, video_range="PQ"), SEGMENT)),
    "began": announcement(EpochBegan("show", EPOCH, "ingest-1")),
    "restarts": announcement(EpochBegan("show", Epoch(EPOCH.number, 7, restarts_list=True), "ingest-1")),
    "ended": announcement(StreamEnded("show", EPOCH, 11, "ingest-1")),
    "position": Kind(
        StreamPosition(EPOCH.number, 11, 2, 1_796_000_015_123, 3, is_ended=True),
        position_bytes,
        lambda data: wire.decode_position(data)[0],
    ),
    "epochs": Kind({"show": EPOCH.number, "other": 5}, wire.encode_epochs, wire.decode_epochs),
    "change": Kind(
        PublisherChange("show", EPOCH.number, 3, False, 11, "ingest-1"), wire.encode_change, wire.decode_change
    ),
    "heartbeat": Kind(
        Heartbeat(NODE, 77, 1234, 1_796_000_000.123, {"show": 30}, 2, False, "0123456789abcdef", ("fedcba9876543210",)),
        heartbeat_bytes,
        read_heartbeat,
    ),
}


def kept() -> dict[str, bytes]:
    lines = KEPT.read_bytes().splitlines()
    return {name.decode(): text for name, _, text in (line.partition(b"\t") for line in lines)}


def with_more(value: Any) -> Any:
    """The same, with fields that nobody knows yet in every object but those whose keys are names of streams."""
    if isinstance(value, dict):
        return {key: with_more(each) for key, each in value.items()} | {"later": {"x": [1, None]}}
    return value


def has_all(written: Any, known: Any) -> bool:
    """Whether everything that was known before is there, and is as it was."""
    if isinstance(known, Mapping):
        return isinstance(written, Mapping) and all(
            key in written and has_all(written[key], known[key]) for key in known
        )
    return bool(written == known)


def test_all_kinds_were_kept() -> None:
    assert kept().keys() == KINDS.keys()


@pytest.mark.parametrize("name", KINDS)
def test_what_the_version_before_wrote_is_read_as_it_was_meant(name: str) -> None:
    assert KINDS[name].read(kept()[name]) == KINDS[name].value


@pytest.mark.parametrize("name", KINDS)
def test_the_version_before_can_read_what_this_one_writes(name: str) -> None:
    assert has_all(json.loads(KINDS[name].write(KINDS[name].value)), json.loads(kept()[name]))


@pytest.mark.parametrize("name", KINDS.keys() - {"epochs", "heartbeat"})
def test_what_a_later_version_adds_is_ignored(name: str) -> None:
    assert KINDS[name].read(json.dumps(with_more(json.loads(kept()[name]))).encode()) == KINDS[name].value


def test_what_a_later_version_adds_to_a_heartbeat_is_ignored() -> None:
    fields = json.loads(kept()["heartbeat"]) | {"later": {"x": [1, None]}}
    assert KINDS["heartbeat"].read(json.dumps(fields).encode()) == KINDS["heartbeat"].value


def test_kinds_of_a_later_version_are_left_out_of_a_document() -> None:
    later = json.dumps({**json.loads(kept()["began"]), "kind": "later"}).encode()
    document = b"\n".join([kept()["began"], later, kept()["ended"]])
    assert wire.decode_document(document) == [KINDS["began"].value, KINDS["ended"].value]
