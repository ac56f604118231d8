"""What pictures look like in a rung: their range, bits and colours."""

import av
import pytest

from livestream.transcode.hdr import HLG, PQ
from livestream.transcode.scaling import Scaler

SAMPLE_BYTES = {"gray10le": 2, "yuv420p10le": 2, "yuv444p12le": 2}


def flat(pixel_format: str, *samples: int, size: tuple[int, int] = (64, 64), **tags: int) -> av.VideoFrame:
    """A picture of one colour; ``tags`` are attributes of the frame."""
    picture = av.VideoFrame(*size, pixel_format)
    for plane, sample in zip(picture.planes, samples, strict=True):
        sample_bytes = SAMPLE_BYTES.get(pixel_format, 1)
        plane.update(sample.to_bytes(sample_bytes, "little") * (plane.buffer_size // sample_bytes))
    for name, value in tags.items():
        setattr(picture, name, value)
    return picture


def shown(picture: av.VideoFrame) -> tuple[int, ...]:
    """The samples in the middle."""
    assert picture.format.name == "yuv420p"
    return tuple(bytes(plane)[plane.height // 2 * plane.line_size + plane.width // 2] for plane in picture.planes)


def scaled_to_the_same_and_half(picture: av.VideoFrame) -> list[av.VideoFrame]:
    return [Scaler().scale(picture, picture.width // part, picture.height // part) for part in (1, 2)]


@pytest.mark.parametrize(
    ("picture", "white"),
    [
        (flat("yuvj420p", 255, 128, 128, color_range=2), 235),
        (flat("yuvj420p", 0, 128, 128, color_range=2), 16),
        (flat("yuv420p", 255, 128, 128, color_range=2), 235),
        (flat("yuv420p", 235, 128, 128, color_range=1), 235),
        (flat("yuv420p", 235, 128, 128), 235),
        (flat("yuv444p", 16, 128, 128), 16),
        (flat("yuv420p10le", 940, 512, 512, color_range=1), 235),
        (flat("yuv420p10le", 1023, 512, 512, color_range=2), 235),
        (flat("yuv444p12le", 3760, 2048, 2048), 235),
        (flat("gray", 235), 235),
        (flat("gray", 255, color_range=2), 235),
        (flat("gray10le", 940), 235),
        (flat("gbrp", 255, 255, 255, colorspace=0, color_range=2), 235),
    ],
    ids=lambda each: f"{each.format.name}-{each.color_range}" if isinstance(each, av.VideoFrame) else str(each),
)
def test_white_stays_white_and_black_black_in_limited_range(picture: av.VideoFrame, white: int) -> None:
    for scaled in scaled_to_the_same_and_half(picture):
        luma, *chroma = shown(scaled)
        assert abs(luma - white) <= 1
        assert all(abs(sample - 128) <= 1 for sample in chroma)
        assert scaled.color_range == 1


def tags(picture: av.VideoFrame) -> tuple[int, int, int]:
    return picture.color_primaries, picture.color_trc, picture.colorspace


@pytest.mark.parametrize(
    ("told", "size", "shown_as"),
    [
        ((5, 6, 5), (64, 64), (5, 6, 5)),
        ((6, 6, 6), (64, 64), (6, 6, 6)),
        ((1, 1, 1), (64, 64), (1, 1, 1)),
        ((9, 14, 9), (64, 64), (9, 14, 9)),
        ((2, 2, 2), (64, 64), (2, 2, 2)),
        ((2, 2, 2), (1280, 720), (1, 1, 1)),
        ((2, 2, 2), (720, 1280), (1, 1, 1)),
        ((2, 2, 6), (1280, 720), (2, 2, 6)),
        ((3, 3, 3), (64, 64), (2, 2, 2)),
    ],
)
def test_colours_are_scaled_as_they_are_and_said_as_they_were_meant(told, size, shown_as) -> None:
    primaries, transfer, matrix = told
    picture = flat("yuv420p", 150, 90, 60, size=size, color_primaries=primaries, color_trc=transfer, colorspace=matrix)
    for scaled in scaled_to_the_same_and_half(picture):
        assert shown(scaled) == (150, 90, 60)
        assert tags(scaled) == shown_as


def test_red_green_and_blue_become_bt_709() -> None:
    red = flat("gbrp", 0, 0, 255, colorspace=0, color_range=2)
    for scaled in scaled_to_the_same_and_half(red):
        assert shown(scaled) == pytest.approx((63, 102, 240), abs=1)
        assert tags(scaled) == (1, 1, 1)


def bt2020(signal: tuple[float, float, float], transfer: int, matrix: int = 9) -> av.VideoFrame:
    """A picture of 10 bits and limited range with this signal, from 0 to 1."""
    red, green, blue = signal
    luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    parts = 16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8814, 128 + 224 * (red - luma) / 1.4746
    samples = (round(4 * part) for part in parts)
    return flat("yuv420p10le", *samples, color_trc=transfer, color_primaries=9, colorspace=matrix, color_range=1)


def rgb(picture: av.VideoFrame) -> tuple[float, ...]:
    """The signal in the middle of a BT.709 picture, from 0 to 1."""
    luma, blue, red = shown(picture)
    y, b, r = (luma - 16) / 219, (blue - 128) / 224, (red - 128) / 224
    return y + 1.5748 * r, y - 0.1873 * b - 0.4681 * r, y + 1.8556 * b


@pytest.mark.parametrize("matrix", [9, 2])
@pytest.mark.parametrize(
    ("transfer", "signal", "seen"),
    [
        (PQ, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        (PQ, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
        (PQ, (0.58, 0.58, 0.58), (0.90, 0.90, 0.90)),  # 203 cd/m2
        (PQ, (0.4, 0.4, 0.4), (0.48, 0.48, 0.48)),
        (HLG, (0.75, 0.75, 0.75), (0.90, 0.90, 0.90)),  # 203 cd/m2
        (HLG, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
        (PQ, (0.58, 0.0, 0.0), (0.97, 0.0, 0.29)),
        (PQ, (0.0, 0.58, 0.0), (0.0, 0.87, 0.51)),
        (PQ, (0.0, 0.0, 0.58), (0.0, 0.2, 0.69)),
    ],
)
def test_high_dynamic_range_is_shown_without(transfer, signal, seen, matrix) -> None:
    for scaled in scaled_to_the_same_and_half(bt2020(signal, transfer, matrix)):
        assert tags(scaled) == (1, 1, 1)
        assert rgb(scaled) == pytest.approx(seen, abs=0.03)


def test_a_scaler_goes_on_with_another_size_and_another_transfer() -> None:
    scaler = Scaler()
    for transfer, size in ((PQ, 64), (PQ, 32), (HLG, 32)):
        scaled = scaler.scale(bt2020((1, 1, 1), transfer), size, size)
        assert (scaled.width, scaled.height) == (size, size)
        assert rgb(scaled) == pytest.approx((1, 1, 1), abs=0.01)


def test_a_usual_picture_of_the_right_size_is_not_copied() -> None:
    picture = flat("yuv420p", 100, 110, 120, color_range=1)
    assert Scaler().scale(picture, 64, 64) is picture
