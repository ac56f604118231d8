"""A real child, over its pipes."""

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import pytest
from attrs import evolve

from livestream.media.flv import avc_frame
from livestream.model.frames import Codec, Frame
from livestream.transcode.commands import (
    Command,
    Done,
    Flush,
    OutOfMemory,
    Produced,
    RecordReader,
    Refused,
    Setup,
    Source,
    encode,
)
from livestream.transcode.hdr import PQ
from livestream.transcode.ladder import Rung
from tests.media.encoded import broadcast, frames
from tests.transcode.sources import bomb, decoded, opus, pictures, shown, with_sets_in_band
from tests.transcode.sources import encoded as encoded_pictures

RUNGS = (Rung("180p", 180, 300), Rung("90p", 90, 150))
WORKER = (sys.executable, "-m", "livestream.transcode.worker")


def answers(*commands: Command) -> list[Command]:
    told = b"".join(encode(command) for command in (Setup("ultrafast", RUNGS), *commands))
    child = subprocess.run(WORKER, input=told, capture_output=True, timeout=20, check=True)
    assert child.stderr == b""
    return list(RecordReader().receive(child.stdout))


def made(answered: list[Command], rendition: str) -> list[Frame]:
    return [each.frame for each in answered if isinstance(each, Produced) and each.rendition == rendition]


@pytest.mark.parametrize(("told", "shift_ms"), [(0, 0), (10, -30), (35, 2), (35, 3)])
def test_every_picture_comes_out_of_every_rung_and_idr_pictures_at_the_first_one_from_a_cut_on(shift_ms, told) -> None:
    frames = pictures(seconds=3)
    odd = sorted(frame.pts_ms for frame in frames)[40]
    times = sorted(frame.pts_ms for frame in frames if not frame.is_config)
    at = [frame for frame in frames if not frame.is_config][told]
    sources = [Source(frame, odd + shift_ms if frame is at else None) for frame in frames]
    answered = answers(*sources, Flush())
    keys = {times[0], odd if shift_ms <= 2 else odd + 40}
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


def encoded(*commands: Command) -> bytes:
    return b"".join(encode(command) for command in commands)


def test_what_cannot_be_decoded_is_left_out() -> None:
    frames = pictures(seconds=2)
    frames[10] = evolve(frames[10], body=frames[10].body[:5] + b"\x00\x00\x00\x04\x41\xff\xff\xff")
    told = encoded(Setup("ultrafast", RUNGS), *map(Source, frames), Flush())
    child = subprocess.run(WORKER, input=told, capture_output=True, timeout=20, check=True)
    out = made(list(RecordReader().receive(child.stdout)), "90p")
    assert len(out) >= len(frames) - 3


def peak_mib(*commands: Command) -> tuple[list[Command], int]:
    """What a child answers up to its last flush, and the most memory that it had resident until then."""
    told = b"".join(encode(command) for command in (Setup("ultrafast", RUNGS), *commands, Flush()))
    with subprocess.Popen(WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(told)
        records, answered = RecordReader(), list[Command]()
        while not answered or answered[-1] != Done(flushed=True):
            answered += records.receive(os.read(child.stdout.fileno(), 1 << 20))
        status = Path(f"/proc/{child.pid}/status").read_text()
        child.stdin.close()
    return answered, int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) >> 10


HONEST_MIB = 64
"""Above what a child has for pictures of 320x240, and far below one picture of the bombs with its tables."""


def in_record() -> list[Frame]:
    return list(bomb())


def in_band() -> list[Frame]:
    config, key, *others = bomb()
    return [pictures(seconds=1)[0], with_sets_in_band(config, key), *others]


def in_band_of_another_frame() -> list[Frame]:
    """Without the flag of a key frame, and behind a slice."""
    config, key, *others = bomb()
    honest = pictures(seconds=1)
    hidden = with_sets_in_band(config, key)
    begin = bytes(honest[2].data) + bytes(hidden.data)
    return [*honest[:2], avc_frame(honest[2].dts_ms, honest[2].cts_ms, False, begin), *others]


@pytest.mark.parametrize("source", [in_record, in_band, in_band_of_another_frame])
def test_pictures_that_are_coded_too_large_are_refused_before_there_is_room_for_them(source) -> None:
    answered, peak = peak_mib(*map(Source, source()))
    refused = [each for each in answered if isinstance(each, Refused)]
    assert refused[0] == Refused("a picture of 320x240, coded as 4352x4352, cannot be served; 4096x2304 at most")
    assert peak < HONEST_MIB


def test_what_follows_a_picture_that_was_refused_is_decoded_from_the_next_key_frame_on() -> None:
    config, first, *others = pictures(seconds=2)
    bombs = bomb()
    late = evolve(with_sets_in_band(*bombs[:2]), dts_ms=others[3].dts_ms)
    out = made(answers(*map(Source, [config, first, *others[:3], late, *others[4:]]), Flush()), "90p")
    second = next(frame.pts_ms for frame in others if frame.is_key)
    times = [frame.pts_ms for frame in out if not frame.is_config]
    assert [time for time in times if time >= second] == [frame.pts_ms for frame in sorted_by_time(others, second)]
    assert len(times) < 50


def sorted_by_time(given: list[Frame], from_ms: int) -> list[Frame]:
    return sorted((frame for frame in given if frame.pts_ms >= from_ms), key=lambda frame: frame.pts_ms)


def test_a_size_that_changes_among_the_pictures_alone_loses_none() -> None:
    small = pictures(seconds=1)
    config, key, *rest = [evolve(f, dts_ms=f.dts_ms + 1000) for f in pictures(seconds=1, size=(1280, 720))]
    out = made(answers(*map(Source, [*small, with_sets_in_band(config, key), *rest]), Flush()), "180p")
    assert len(decoded(out)) == 50


@pytest.mark.parametrize("video", ["libx265", "libsvtav1", "libvpx-vp9"])
def test_every_codec_that_is_served_is_decoded(video: str) -> None:
    source = frames(broadcast(video, None, seconds=0.4, size=(226, 130)))
    out = made(answers(*map(Source, source), Flush()), "90p")
    assert len(decoded(out)) == len(source) - 1


OVERSTRETCHED = """
from livestream.transcode.sandbox import confine, free_memory, grant_memory, granted_memory
from livestream.transcode.worker import Worker, work

confine(4 << 30, 4 << 30)
work(Worker(lambda needed: grant_memory(granted_memory() - free_memory() + (32 << 20))))
"""
"""Its decoder has enough, and its encoder has not."""


def test_a_child_that_needs_more_memory_than_it_is_granted_says_so_and_ends() -> None:
    setup = Setup("ultrafast", (Rung("1080p", 1080, 300),))
    told = encoded(setup, *map(Source, pictures(seconds=1, fps=5, size=(1920, 1088))), Flush())
    command = (sys.executable, "-c", OVERSTRETCHED)
    child = subprocess.run(command, check=False, input=told, capture_output=True, timeout=20)
    assert isinstance(list(RecordReader().receive(child.stdout))[-1], OutOfMemory)
    assert child.returncode == 1


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


@pytest.mark.parametrize(("pixels", "x264"), [("yuv420p10le", "transfer=smpte2084"), ("yuv420p", "tff=1")])
def test_a_confined_child_filters_pictures(pixels: str, x264: str) -> None:
    source = encoded_pictures((picture_of(pixels) for _ in range(4)), f"{x264}:bframes=0")
    out = made(answers(*map(Source, source), Flush()), "90p")
    assert [picture.pts for picture in shown(out)] == [frame.pts_ms for frame in source[1:]]
    assert not any(picture.interlaced_frame or picture.color_trc == PQ for picture in shown(out))


def picture_of(pixels: str) -> av.VideoFrame:
    picture = av.VideoFrame(320, 240, pixels)
    for plane in picture.planes:
        plane.update(bytes(plane.buffer_size))
    return picture
