"""Slates, each encoded by a real child."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import pytest
import pytest_twisted
from av.video.codeccontext import VideoCodecContext
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import formatEvent

from livestream.config import ConfigError
from livestream.media.slate import Slate, SlateShape
from livestream.transcode.slates import MAX_PICTURE_BYTES, Slates, read_picture
from tests.logs import logger_to
from tests.transcode.sources import shown

PATIENCE_S = 30
BT709_RED, BLACK = (63, 102, 240), (16, 128, 128)
"""In limited range."""


def picture(kind: str, size: tuple[int, int] = (400, 300), alpha: int = 255) -> bytes:
    """A red picture, encoded as ``png`` or ``mjpeg``."""
    width, height = size
    frame = av.VideoFrame(width, height, "rgba")
    row = bytes((255, 0, 0, alpha)) * width
    frame.planes[0].update(row.ljust(frame.planes[0].line_size, b"\0") * height)
    if kind == "mjpeg":
        frame = frame.reformat(format="yuvj420p")
    encoder = VideoCodecContext.create(kind, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.time_base = width, height, Fraction(1, 25)
    encoder.pix_fmt = frame.format.name
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


async def until_encoded(slates: Slates, shape: SlateShape) -> Slate | None:
    for _ in range(PATIENCE_S * 50):
        slate = slates.get(shape)
        if slate is not None or slates.pid is None:
            return slate
        await deferLater(reactor, 0.02)
    raise AssertionError("no slate")


def colour_at(slate: Slate, x: float, y: float) -> list[int]:
    """The samples at a place of the picture, from 0 to 1."""
    (frame,) = shown([slate.config, slate.key])
    return [
        bytes(each)[int(y * (each.height - 1)) * each.line_size + int(x * (each.width - 1))] for each in frame.planes
    ]


def is_near(colour: Sequence[int], wanted: Sequence[int]) -> bool:
    return all(abs(one - other) <= 3 for one, other in zip(colour, wanted, strict=True))


@pytest.mark.parametrize("kind", ["png", "mjpeg"])
@pytest_twisted.ensureDeferred
async def test_a_picture_keeps_its_shape_on_black(kind: str) -> None:
    slates = Slates(reactor, "away", picture(kind))
    shape = SlateShape(640, 360)
    slate = await until_encoded(slates, shape)
    assert slate is not None and (slate.video.width, slate.video.height) == (640, 360)
    assert slate.key.is_key and slate.config.is_config
    assert is_near(colour_at(slate, 0.5, 0.5), BT709_RED)
    assert is_near(colour_at(slate, 0.2, 0.5), BT709_RED) and is_near(colour_at(slate, 0.8, 0.5), BT709_RED)
    assert is_near(colour_at(slate, 0.05, 0.5), BLACK) and is_near(colour_at(slate, 0.95, 0.5), BLACK)
    assert slates.get(shape) is slate


@pytest_twisted.ensureDeferred
async def test_samples_that_are_not_square_are_taken_into_account() -> None:
    slate = await until_encoded(Slates(reactor, "away", picture("png")), SlateShape(352, 288, (16, 11)))
    assert slate is not None and slate.video.shown_width == 512
    assert is_near(colour_at(slate, 0.2, 0.5), BT709_RED)
    assert is_near(colour_at(slate, 0.05, 0.5), BLACK)


@pytest_twisted.ensureDeferred
async def test_what_is_transparent_is_black() -> None:
    slate = await until_encoded(Slates(reactor, "away", picture("png", alpha=0)), SlateShape(320, 240))
    assert slate is not None and is_near(colour_at(slate, 0.5, 0.5), BLACK)


@pytest_twisted.ensureDeferred
async def test_a_damaged_picture_is_said_and_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(Slates, "log", logger_to(lambda event: told.append(str(formatEvent(event)))))
    slates = Slates(reactor, "away.png", picture("png")[:60])
    shape = SlateShape(320, 240)
    assert await until_encoded(slates, shape) is None
    assert await until_encoded(slates, shape) is None
    (line,) = told
    assert line.startswith("ingest.slate: away.png cannot be shown at 320x240: it ")


@pytest_twisted.ensureDeferred
async def test_the_child_ends_with_the_process_and_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(Slates, "log", logger_to(told.append))
    slates = Slates(reactor, "away", picture("png"))
    slates.get(SlateShape(320, 240))
    pid = slates.pid
    assert pid is not None
    slates.stop()
    for _ in range(PATIENCE_S * 50):
        if not Path(f"/proc/{pid}").exists():
            assert told == [] and slates.get(SlateShape(640, 360)) is None and slates.pid is None
            return
        await deferLater(reactor, 0.02)
    raise AssertionError("it is still there")


def test_a_file_that_is_no_picture_is_one_line(tmp_path: Path) -> None:
    for name, content, words in (
        ("note.txt", b"hello", "is neither a PNG nor a JPEG"),
        ("huge.png", b"\x89PNG\r\n\x1a\n" + bytes(MAX_PICTURE_BYTES), "is larger than 16 MiB"),
        ("gone.png", None, "cannot be read: No such file or directory"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError) as raised:
            read_picture(path)
        assert list(raised.value.lines) == [f"ingest.slate: '{path}' {words}"]
    with pytest.raises(ConfigError, match="Is a directory"):
        read_picture(tmp_path)
