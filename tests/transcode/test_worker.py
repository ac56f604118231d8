"""A real child, over its pipes."""

import subprocess
import sys
from itertools import pairwise

from attrs import evolve

from livestream.model import Codec, Frame
from livestream.transcode.commands import Command, Done, Flush, Produced, Records, Setup, Source, encode
from livestream.transcode.ladder import Rung
from tests.transcode.sources import decoded, opus, pictures

RUNGS = (Rung("180p", 180, 300), Rung("90p", 90, 150))
WORKER = (sys.executable, "-m", "livestream.transcode.worker")


def answers(*commands: Command) -> list[Command]:
    told = b"".join(encode(command) for command in (Setup("ultrafast", RUNGS), *commands))
    child = subprocess.run(WORKER, input=told, capture_output=True, timeout=20, check=True)
    assert child.stderr == b""
    return list(Records().receive(child.stdout))


def made(answered: list[Command], rendition: str) -> list[Frame]:
    return [each.frame for each in answered if isinstance(each, Produced) and each.rendition == rendition]


def test_every_picture_comes_out_of_every_rung_and_idr_pictures_exactly_at_keys_and_cuts() -> None:
    frames = pictures(seconds=3)
    odd = sorted(frame.pts_ms for frame in frames)[40]
    sources = [Source(frame, is_cut=not frame.is_config and frame.pts_ms == odd) for frame in frames]
    answered = answers(*sources, Flush())
    times = sorted(frame.pts_ms for frame in frames if not frame.is_config)
    keys = {frame.pts_ms for frame in frames if frame.is_key and not frame.is_config} | {odd}
    for rung in RUNGS:
        out = made(answered, rung.name)
        assert out[0].is_config
        assert [frame.dts_ms for frame in out[1:]] == times
        assert {frame.pts_ms for frame in out[1:] if frame.is_key} == keys
        assert decoded(out) == [(time, time in keys, rung.height) for time in times]


def test_every_frame_and_flush_is_answered_in_its_order() -> None:
    frames = pictures(seconds=1)
    answered = answers(*map(Source, frames), Flush())
    assert [each for each in answered if isinstance(each, Done)] == [Done()] * len(frames) + [Done(flushed=True)]


def test_a_new_configuration_gives_new_ones_and_loses_no_picture() -> None:
    small = pictures(seconds=1)
    later = [evolve(frame, dts_ms=frame.dts_ms + 1000) for frame in pictures(seconds=1, size=(480, 360))]
    out = made(answers(*map(Source, small + later), Flush()), "90p")
    assert sum(frame.is_config for frame in out) == 2
    assert len(decoded(out)) == len(small) + len(later) - 2


def test_what_cannot_be_decoded_is_left_out() -> None:
    frames = pictures(seconds=2)
    frames[10] = evolve(frames[10], body=frames[10].body[:5] + b"\x00\x00\x00\x04\x41\xff\xff\xff")
    told = b"".join(encode(c) for c in (Setup("ultrafast", RUNGS), *map(Source, frames), Flush()))
    child = subprocess.run(WORKER, input=told, capture_output=True, timeout=20, check=True)
    out = made(list(Records().receive(child.stdout)), "90p")
    assert len(out) >= len(frames) - 3


def test_other_sound_comes_back_as_aac_once() -> None:
    frames = opus()
    out = made(answers(*map(Source, frames), Flush()), "audio")
    assert out[0].is_config
    assert {frame.codec for frame in out} == {Codec.AAC}
    times = [frame.dts_ms for frame in out[1:]]
    assert 46 <= len(times) <= 50
    assert all(20 <= after - before <= 22 for before, after in pairwise(times))
    assert 70 <= times[0] <= 100


def test_a_child_without_its_parent_ends() -> None:
    child = subprocess.run(WORKER, input=b"", capture_output=True, timeout=20, check=True)
    assert child.stdout == b""
