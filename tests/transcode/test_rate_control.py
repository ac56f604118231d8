"""The bit rate of a rung, whatever the source tells of its frame rate."""

import random

import av
import pytest

from livestream.transcode.coding import VideoTranscoder
from livestream.transcode.commands import Produced
from livestream.transcode.ladder import Rung
from tests.transcode.sources import encoded

SIZE = 160, 96
KBPS = 150


def noise(count: int):
    rng = random.Random(1)
    for _ in range(count):
        picture = av.VideoFrame(*SIZE, "yuv420p")
        for plane in picture.planes:
            plane.update(rng.randbytes(plane.buffer_size))
        yield picture


@pytest.mark.parametrize(("told", "fps", "seconds"), [(30, 1, 30), (30, 5, 12), (30, 30, 6), (30, 60, 6), (60, 15, 8)])
def test_the_rate_goes_by_the_times_of_the_pictures(told: int, fps: int, seconds: int) -> None:
    source = encoded(noise(fps * seconds), "bframes=0:qp=30", fps=fps, told_fps=told)
    transcoder = VideoTranscoder("ultrafast", (Rung("source", 96, KBPS),), lambda _: None)
    made = [each for frame in source for each in transcoder.transcode(frame, None)]
    made += transcoder.flush()
    size = sum(len(each.frame.data) for each in made if isinstance(each, Produced))
    assert size * 8 / 1000 / seconds == pytest.approx(KBPS, rel=0.25)
