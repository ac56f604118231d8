"""Pictures of two fields in the rungs, with a real encoder and a real decoder around."""

from collections.abc import Iterator
from fractions import Fraction

import av
import pytest
from av.filter import Graph
from av.video.format import VideoFormat

from livestream.model.frames import Frame
from livestream.transcode.coding import VideoTranscoder
from livestream.transcode.commands import Produced
from livestream.transcode.deinterlacing import Deinterlacer
from livestream.transcode.ladder import Rung
from tests.transcode.sources import encoded, shown

WIDTH, HEIGHT = 96, 64
RUNG = Rung("source", HEIGHT, 2_000)


def moving(count: int, *, top_first: bool) -> Iterator[av.VideoFrame]:
    """A white edge that moves by 4 columns from field to field."""
    flagged = Graph()
    source = flagged.add_buffer(width=WIDTH, height=HEIGHT, format=VideoFormat("yuv420p"), time_base=Fraction(1, 25))
    order = flagged.add("setparams", f"field_mode={'tff' if top_first else 'bff'}")
    flagged.link_nodes(source, order, flagged.add("buffersink")).configure()
    for number in range(count):
        picture = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        luma, *chroma = picture.planes
        rows = []
        for row in range(HEIGHT):
            is_second = (row % 2 == 0) is not top_first
            edge = 8 * number + 4 * is_second
            rows.append((b"\xeb" * edge + b"\x10" * (WIDTH - edge)).ljust(luma.line_size, b"\x10"))
        luma.update(b"".join(rows))
        for plane in chroma:
            plane.update(b"\x80" * plane.buffer_size)
        picture.pts = number
        flagged.vpush(picture)
        yield flagged.vpull()


def edges(picture: av.VideoFrame) -> set[int]:
    """Where the white ends in each row, away from the upper and lower border."""
    luma = picture.planes[0]
    rows = (bytes(luma)[row * luma.line_size :][:WIDTH] for row in range(8, HEIGHT - 8))
    return {sum(sample > 125 for sample in row) for row in rows}


def rung(source: list[Frame]) -> list[Frame]:
    transcoder = VideoTranscoder("ultrafast", (RUNG,), lambda _: None)
    made = [each for frame in source for each in transcoder.transcode(frame, None)]
    made += transcoder.flush()
    return [each.frame for each in made if isinstance(each, Produced)]


@pytest.mark.parametrize("order", ["tff", "bff"])
@pytest.mark.parametrize("count", [1, 2, 10])
def test_each_picture_shows_its_earlier_field_at_its_own_time(order: str, count: int) -> None:
    source = encoded(moving(count, top_first=order == "tff"), f"{order}=1:qp=10:bframes=0")
    assert len(edges(shown(source)[-1])) == 2
    pictures = shown(rung(source))
    assert [picture.pts for picture in pictures] == [frame.pts_ms for frame in source[1:]]
    assert not any(picture.interlaced_frame for picture in pictures)
    if count == 10:
        for number, picture in enumerate(pictures[2:-2], 2):
            assert all(abs(edge - 8 * number) <= 1 for edge in edges(picture))


def test_progressive_pictures_pass_at_once_and_untouched() -> None:
    deinterlacer = Deinterlacer()
    for picture in shown(encoded(moving(2, top_first=True), "bframes=0")):
        assert list(deinterlacer.process(picture)) == [picture]
    assert list(deinterlacer.flush()) == []


def test_a_source_that_becomes_interlaced_and_another_size_loses_no_picture() -> None:
    plain = encoded(moving(4, top_first=True), "bframes=0")
    fields = encoded(moving(4, top_first=True), "tff=1:bframes=0", from_ms=1_000)
    small = encoded((picture.reformat(64, 48) for picture in moving(4, top_first=True)), "bframes=0", from_ms=2_000)
    source = [*plain, *fields, *small]
    assert [picture.pts for picture in shown(rung(source))] == [frame.pts_ms for frame in source if not frame.is_config]
