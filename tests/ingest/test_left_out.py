"""What of a publisher's media is not served is reported once: to operators, and to the publisher."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from livestream.ingest.broadcast import Broadcast
from livestream.ingest.services import BroadcastSettings
from livestream.media.flv import avc_config
from livestream.media.left_out import LeftOut, Reason
from livestream.model.frames import Codec, Frame, Track
from livestream.packaging.cuts import SourceMode
from livestream.roles.ingest import sources_of
from tests.ingest.test_broadcast import GRACE_S, Scene, media, send
from tests.logs import logger_to
from tests.packaging.broadcasts import RECORD, mixed, pictures, sounds

MP3 = b"\x2f\xff\xfb"


def with_mp3(frames: list[Frame]) -> list[Frame]:
    """The same pictures, with sound of a codec that is not served."""
    return [f if f.track is Track.VIDEO else Frame(Codec.AAC, f.dts_ms, MP3, 1) for f in frames]


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    monkeypatch.setattr(Broadcast, "log", logger_to(events.append))
    return events


def found(broadcast: Broadcast) -> list[tuple[Track, Reason]]:
    return [(item.track, item.reason) for item in broadcast.left_out.items]


def counted(scene: Scene, metric: str, reason: str) -> float | None:
    return scene.metrics.registry.get_sample_value(f"livestream_{metric}_total", {"reason": reason})


def warnings(log: list[dict[str, Any]]) -> list[str]:
    return [event["log_format"].format(**event) for event in log if event["log_level"].name == "warn"]


def test_a_track_that_is_left_out_is_reported_once_everywhere(scene: Scene, log: list[dict[str, Any]]) -> None:
    told: list[str] = []
    broadcast = scene.broadcasts.resume_or_start("show", told.append)
    send(broadcast, with_mp3(media(0, 6_000)))
    assert found(broadcast) == [(Track.AUDIO, Reason.CODEC)]
    (line,) = warnings(log)
    assert line.startswith("show, audio: audio MP3 cannot be served; ")
    assert told == [line.removeprefix("show, ")]
    assert counted(scene, "left_out", "codec") == 1
    assert counted(scene, "frames_dropped", "left_out") == len(sounds(0, 6_000)) + 2


def test_each_publisher_is_told_anew_and_only_while_it_is_connected(scene: Scene) -> None:
    first: list[str] = []
    second: list[str] = []
    broadcast = scene.broadcasts.resume_or_start("show", first.append)
    send(broadcast, with_mp3(media(0, 6_000)))
    broadcast.left("gone")
    assert found(broadcast)
    scene.broadcasts.resume_or_start("show", second.append)
    assert not found(broadcast)
    send(broadcast, with_mp3(media(0, 6_000)))
    assert (len(first), len(second)) == (1, 1)
    broadcast.left("gone")
    scene.clock.advance(GRACE_S + 1)
    assert scene.broadcasts.live() == []


def test_a_publisher_that_has_gone_is_not_warned(scene: Scene) -> None:
    told: list[str] = []
    broadcast = scene.broadcasts.resume_or_start("show", told.append)
    send(broadcast, media(0, 6_000))
    broadcast.left("gone")
    broadcast.leave_out(LeftOut(Track.VIDEO, Reason.KEY_FRAMES, "its last segment was long"))
    assert found(broadcast) and told == []


def test_a_publisher_that_returns_has_to_send_its_own_configuration(scene: Scene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, media(0, 6_000))
    broadcast.left("gone")
    scene.broadcasts.resume_or_start("show")
    for second in range(4):
        scene.clock.advance(1)
        send(broadcast, pictures(second * 1_000, (second + 1) * 1_000, 1_000))
    assert found(broadcast) == [(Track.VIDEO, Reason.NO_CONFIGURATION)]


def test_long_segments_of_a_source_that_is_passed_are_reported(scene: Scene) -> None:
    scene.settings = evolve(scene.settings, grace_s=GRACE_S)
    broadcast = scene.broadcasts.resume_or_start("show")
    frames = mixed(pictures(0, 20_000, 8_360), sounds(0, 20_000))
    send(broadcast, frames)
    (item,) = broadcast.left_out.items
    assert (item.track, item.reason) == (Track.VIDEO, Reason.KEY_FRAMES)
    assert "segments of 8.4 s instead of 3 s" in item.text


@pytest.mark.parametrize("keys_ms", [1_000, 2_000, 2_520, 3_000, 4_000])
def test_segments_within_a_second_of_the_usual_length_are_not(keys_ms: int) -> None:
    scene = Scene(settings=BroadcastSettings(3, 3.0, GRACE_S, ()))
    broadcast = scene.broadcasts.resume_or_start("show")
    send(broadcast, mixed(pictures(0, 20_000, keys_ms), sounds(0, 20_000)))
    assert scene.segments and not found(broadcast)


def test_operators_are_shown_a_publisher_of_whom_nothing_is_served(scene: Scene) -> None:
    broadcast = scene.broadcasts.resume_or_start("show")
    broadcast.media(9, 0, avc_config(b"\x02" + RECORD[1:]).body)
    send(broadcast, pictures(0, 5_000, 1_000))
    source = sources_of(scene.broadcasts)()["show"]
    assert source.mode is SourceMode.PASS
    assert [(item.track, item.reason) for item in source.left_out] == [(Track.VIDEO, Reason.CONFIGURATION)]
    assert not scene.segments and not scene.site.feeds["source"].frames
