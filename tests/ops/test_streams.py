"""Streams as operators see them."""

from __future__ import annotations

import json

from livestream.media.left_out import LeftOut, Reason
from livestream.model.frames import AUDIO
from livestream.ops.streams import Source, described_all
from livestream.packaging.cuts import SourceMode
from livestream.packaging.window import Window

HEADERS = LeftOut(AUDIO, Reason.CHANNEL_LAYOUT, "no such layout")


def test_a_stream_has_what_of_its_publisher_is_served() -> None:
    sources = {"passed": Source(SourceMode.PASS, [HEADERS]), "encoded": Source(SourceMode.ENCODE, ())}
    passed, encoded = described_all([Window("passed", 6), Window("encoded", 6)], sources)
    assert (passed["source"], encoded["source"]) == ("pass", "encode")
    assert encoded["left_out"] == []
    assert passed["left_out"] == [{"track": "audio", "reason": "channel_layout", "text": "no such layout"}]
    json.dumps(passed)


def test_a_publisher_without_a_segment_is_listed_as_starting() -> None:
    streams = described_all([Window("live", 6)], {"live": Source(None, ()), "mute": Source(None, [HEADERS])})
    assert [(each["stream"], each["state"], each["source"]) for each in streams] == [
        ("live", "live", None),
        ("mute", "starting", None),
    ]
    assert streams[1]["left_out"][0]["reason"] == "channel_layout"


def test_where_a_stream_is_not_published_nothing_is_claimed_about_its_publisher() -> None:
    (stream,) = described_all([Window("show", 6)], {})
    assert not {"source", "left_out"} & stream.keys()
