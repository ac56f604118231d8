"""A broadcast whose audio is converted by the test."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred, succeed

from livestream.ingest.broadcast import BroadcastPhase
from livestream.ingest.services import BroadcastSettings
from livestream.media.flv import aac_config, aac_frame, avc_config
from livestream.media.other_audio import parse_other_audio
from livestream.model.frames import AUDIO, VIDEO, Frame, Track
from tests.ingest.test_broadcast import Scene
from tests.ingest.test_returning import SiteWithRungs
from tests.packaging.broadcasts import ASC, RECORD, pictures, sounds
from tests.packaging.mp4 import samples

MP3 = b"\x2f\xff\xfb"


@define(eq=False)
class FakeConversion:
    """Gives a frame of AAC for each that it is fed, three frames late."""

    converted: Callable[[Frame], None]
    given_up: Callable[[str], None]
    described: list[Frame] = field(factory=list)
    inside: list[Frame] = field(factory=list)
    flushed: list[Deferred[None]] = field(factory=list)
    is_closed: bool = False

    def feed(self, frame: Frame) -> None:
        if frame.is_config:
            self.described.append(frame)
            self.converted(aac_config(ASC, frame.dts_ms))
            return
        self.inside.append(aac_frame(frame.dts_ms, b"\x21made"))
        if len(self.inside) > 3:
            self.converted(self.inside.pop(0))

    def flush(self) -> Deferred[None]:
        if self.is_closed:
            return succeed(None)
        self.flushed.append(Deferred())
        return self.flushed[-1]

    def finish(self) -> None:
        """All that was fed comes out."""
        while self.inside:
            self.converted(self.inside.pop(0))
        self.flushed.pop().callback(None)

    def close(self) -> None:
        self.is_closed = True
        self.inside.clear()


@define(eq=False)
class ConvertingSite(SiteWithRungs):
    names: tuple[str, ...] = ()
    conversions: list[FakeConversion] = field(factory=list)

    def audio_conversion(
        self, stream: str, converted: Callable[[Frame], None], given_up: Callable[[str], None]
    ) -> FakeConversion:
        self.conversions.append(FakeConversion(converted, given_up))
        return self.conversions[-1]


@pytest.fixture
def scene() -> Scene:
    return Scene(site=ConvertingSite(), settings=BroadcastSettings(3, 3.0, 10.0, (360,), "pass"))


def send_mp3(scene: Scene, end_ms: int) -> FakeConversion:
    """A broadcast with MP3, up to ``end_ms``; return its conversion."""
    assert isinstance(scene.site, ConvertingSite)
    broadcast = scene.broadcasts.resume_or_start("show")
    broadcast.media(9, 0, avc_config(RECORD).body)
    frames = sorted([*pictures(0, end_ms, 3_000), *sounds(0, end_ms)], key=lambda frame: frame.dts_ms)
    for frame in frames:
        broadcast.media(9 if frame.track is VIDEO else 8, frame.dts_ms, frame.body if frame.track is VIDEO else MP3)
    return scene.site.conversions[-1]


def test_what_is_made_of_the_audio_is_in_the_segments_and_in_the_push(scene: Scene) -> None:
    conversion = send_mp3(scene, 7_000)
    assert [parse_other_audio(each).name for each in conversion.described] == ["mp3"]
    assert len(scene.segments) == 2
    for told in scene.segments:
        assert told.info.codecs.endswith(",mp4a.40.2")
        assert told.segment.media is not None
        tracks = samples(scene.site.objects["source", told.segment.media.name])
        assert {each.data for each in tracks[2]} == {b"\x21made"} and len(tracks[2]) > 130
    pushed = [frame for frame in scene.site.feeds["source"].frames if frame.track is AUDIO]
    assert {frame.body for frame in pushed} == {aac_config(ASC).body, b"\xaf\x01\x21made"}
    assert not scene.broadcasts.live()[0].left_out.items


def test_what_is_inside_comes_out_before_the_last_segment_is_closed(scene: Scene) -> None:
    conversion = send_mp3(scene, 7_000)
    (broadcast,) = scene.broadcasts.live()
    broadcast.left("closed")
    assert broadcast.phase is BroadcastPhase.CLOSING and len(scene.segments) == 2
    conversion.finish()
    assert broadcast.phase is BroadcastPhase.ABSENT
    last = scene.segments[-1].segment
    assert last.media is not None
    assert len(samples(scene.site.objects["source", last.media.name])[2]) == pytest.approx(1_000 * 48 / 1024, abs=1)


def test_audio_that_is_lost_is_said_and_silence_takes_its_place(scene: Scene) -> None:
    conversion = send_mp3(scene, 7_000)
    (broadcast,) = scene.broadcasts.live()
    conversion.given_up("too many have died")
    for frame in pictures(7_000, 16_000, [9_000, 12_000, 15_000]):
        broadcast.media(9, frame.dts_ms, frame.body)
    (item,) = broadcast.left_out.items
    assert (item.track, item.text) == (Track.AUDIO, "it cannot be converted to AAC: too many have died")
    last = scene.segments[-1].segment
    assert last.media is not None and len(samples(scene.site.objects["source", last.media.name])[2]) > 130


def test_a_takeover_leaves_the_last_segment(scene: Scene) -> None:
    conversion = send_mp3(scene, 7_000)
    (broadcast,) = scene.broadcasts.live()
    broadcast.give_up(1 << 40, commit=True)
    assert conversion.is_closed
    assert [told.segment.duration_ms for told in scene.segments][2:] == [pytest.approx(1_000, abs=50)]


def test_formats_that_alternate_have_one_conversion(scene: Scene) -> None:
    send_mp3(scene, 1_000)
    (broadcast,) = scene.broadcasts.live()
    for at_ms in range(1_000, 3_000, 20):
        broadcast.media(8, at_ms, MP3 if at_ms % 40 else aac_config(ASC).body)
    assert isinstance(scene.site, ConvertingSite) and len(scene.site.conversions) == 1


def test_a_publisher_who_returns_with_audio_that_can_be_carried_needs_no_conversion(scene: Scene) -> None:
    conversion = send_mp3(scene, 7_000)
    (broadcast,) = scene.broadcasts.live()
    broadcast.left("closed")
    conversion.finish()
    assert scene.broadcasts.resume_or_start("show") is broadcast
    own = sounds(0, 7_000)
    for frame in [avc_config(RECORD), aac_config(ASC), *own]:
        broadcast.media(9 if frame.track is VIDEO else 8, frame.dts_ms, frame.body)
    pushed = {frame.body for frame in scene.site.feeds["source"].frames}
    assert {frame.body for frame in own} <= pushed and not conversion.inside


def test_the_end_of_the_broadcast_is_that_of_the_conversion(scene: Scene) -> None:
    conversion = send_mp3(scene, 7_000)
    (broadcast,) = scene.broadcasts.live()
    broadcast.left("closed")
    conversion.finish()
    scene.clock.pump([1] * 12)
    assert broadcast.phase is BroadcastPhase.ENDED and conversion.is_closed


def test_nothing_is_converted_without_a_ladder(scene: Scene) -> None:
    scene = Scene(site=ConvertingSite(), settings=evolve(scene.settings, heights=()))
    with pytest.raises(IndexError):
        send_mp3(scene, 7_000)
    (item,) = scene.broadcasts.live()[0].left_out.items
    assert item.text == "audio MP3 cannot be served; use AAC (or Opus)"
