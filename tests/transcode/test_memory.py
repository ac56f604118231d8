"""What the limits of memory come to."""

from attrs import evolve

from livestream.media.pictures import PictureFormat
from livestream.transcode.ladder import ladder_for
from livestream.transcode.memory import MAX_BYTES, MIB, needed_bytes

HEIGHTS = (1080, 720, 480, 360)
SMALL = PictureFormat(320, 180, 320, 192, references=1)
UHD = PictureFormat(3840, 2160, 3840, 2160, references=4)


def test_a_small_source_is_granted_less_than_a_large_one_and_sound_the_least() -> None:
    sound, small = needed_bytes(None, (), "veryfast"), needed_bytes(SMALL, ladder_for(180, (90,)), "veryfast")
    large = needed_bytes(UHD, ladder_for(2160, HEIGHTS), "veryfast")
    assert sound < small < 700 * MIB < large < 2000 * MIB


def test_what_a_decoder_keeps_counts() -> None:
    usual = needed_bytes(UHD, (), "veryfast")
    for more in (evolve(UHD, references=16), evolve(UHD, depth=10), evolve(UHD, chroma=3)):
        assert needed_bytes(more, (), "veryfast") > usual


def test_what_x264_keeps_counts_by_its_preset_and_an_unknown_one_for_the_most() -> None:
    by_preset = [needed_bytes(UHD, ladder_for(2160, HEIGHTS), name) for name in ("veryfast", "slow", "veryslow")]
    assert by_preset == sorted(set(by_preset))
    assert needed_bytes(UHD, ladder_for(2160, HEIGHTS), "of another version") > by_preset[-1]


def test_an_upright_source_needs_what_a_lying_one_does() -> None:
    upright = PictureFormat(2160, 3840, 2160, 3840, references=4)
    ladder = ladder_for(2160, HEIGHTS)
    assert needed_bytes(upright, ladder, "veryfast") == needed_bytes(UHD, ladder, "veryfast")


def test_nothing_is_granted_more_than_the_most() -> None:
    largest = PictureFormat(4096, 2304, 4096, 2304, chroma=3, depth=12, references=16)
    assert needed_bytes(largest, ladder_for(2304, HEIGHTS), "placebo") == MAX_BYTES
    assert needed_bytes(PictureFormat(4096, 2, 4096, 2), ladder_for(1081, HEIGHTS), "veryfast") == MAX_BYTES
