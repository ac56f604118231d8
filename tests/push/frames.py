"""Frames as a broadcast of 25 pictures a second has them, small enough to read."""

from __future__ import annotations

from collections.abc import Sequence

from livestream.media.flv import aac_config, aac_frame, avc_config, avc_frame
from livestream.model.frames import Frame

RECORD = bytes.fromhex("0142c01effe100046742c01e010004") + b"\x68\xce\x3c\x80"


def configs(at_ms: int = 0) -> list[Frame]:
    return [avc_config(RECORD, at_ms), aac_config(b"\x12\x10", at_ms)]


def picture(at_ms: int, is_key: bool = False, size: int = 100, arrived: float = 0.0) -> Frame:
    unit = (b"\x65" if is_key else b"\x41") + f"{at_ms:08d}".encode() + b"p" * (size - 13)
    return avc_frame(at_ms, 0, is_key, len(unit).to_bytes(4, "big") + unit, arrived)


def sound(at_ms: int, size: int = 20, arrived: float = 0.0) -> Frame:
    return aac_frame(at_ms, f"{at_ms:08d}".encode() + b"s" * (size - 8), arrived)


def group(at_ms: int, pictures: int = 25, size: int = 100) -> list[Frame]:
    """A key frame and those that need it, with the sound between them."""
    frames = []
    for index in range(pictures):
        time_ms = at_ms + 40 * index
        frames += [picture(time_ms, index == 0, size), sound(time_ms)]
    return frames


def names(frames: Sequence[Frame]) -> str:
    """Frames in short: K a key frame, p another picture, s sound, C a configuration; with their times."""
    return " ".join(f"{letter(frame)}{frame.dts_ms}" for frame in frames)


def letter(frame: Frame) -> str:
    if frame.is_config:
        return "C"
    return "s" if frame.track.value == "audio" else "K" if frame.is_key else "p"


def spell(frames: Sequence[Frame]) -> bytes:
    """A join whose bytes can be read."""
    return (names(frames) + " ").encode()
