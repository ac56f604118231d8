"""Slates: pictures that stand in for a publisher's while it is away."""

from __future__ import annotations

from attrs import frozen

from livestream.media.codecs import VideoConfig, parse_config
from livestream.model.frames import Codec, Frame

_MAGIC = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


def picture_type(data: bytes) -> str | None:
    """``png`` or ``jpeg``, by what a file begins with; ``None`` if it is neither."""
    return next((name for magic, name in _MAGIC.items() if data.startswith(magic)), None)


@frozen
class SlateShape:
    """The size of a slate in samples, and the width and height of a sample."""

    width: int
    height: int
    sample_aspect: tuple[int, int] = (1, 1)


@frozen
class Slate:
    """An encoded slate: a configuration, and the only key frame that it is for."""

    config: Frame
    key: Frame

    @property
    def video(self) -> VideoConfig:
        config = parse_config(self.config)
        assert isinstance(config, VideoConfig)
        return config


def slate_shape(config: VideoConfig | None) -> SlateShape | None:
    """
    The shape of a slate that can stand in for such pictures; ``None`` if none can.

    A slate is H.264 with 4:2:0, 8 bits and standard dynamic range, and a player keeps the decoder and the display mode
    that it began with.
    """
    if config is None or config.codec is not Codec.H264 or config.colour.video_range != "SDR":
        return None
    if config.width % 2 or config.height % 2:
        return None
    return SlateShape(config.width, config.height, config.pictures.sample_aspect)
