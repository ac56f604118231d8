"""Scales pictures, and makes them what every player shows: 8 bits, 4:2:0, limited range, standard dynamic range."""

from __future__ import annotations

from attrs import define, field
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from livestream.media.vui import UNSPECIFIED, Colour, colour_of
from livestream.transcode.hdr import is_hdr
from livestream.transcode.tone_mapping import RGB_FORMAT, ToneMapper

OUTPUT_FORMAT = "yuv420p"
HD_LINES = 720
"""Players take what tells no matrix for BT.709 from this height on, and for BT.601 below."""

_BT709 = 1
_LIMITED, _FULL = int(ColorRange.MPEG), int(ColorRange.JPEG)
_BT2020_MATRIX = 9


def colour_of_picture(picture: VideoFrame) -> Colour:
    """The colour that a picture says it has."""
    return colour_of(
        picture.color_primaries, picture.color_trc, picture.colorspace, is_full_range=picture.color_range == _FULL
    )


@define(eq=False)
class Scaler:
    """Scales the pictures of one rendition, one size to another."""

    _reformatter: VideoReformatter = field(factory=VideoReformatter, init=False)
    _to_rgb: VideoReformatter = field(factory=VideoReformatter, init=False)
    _tone_mapper: ToneMapper | None = field(default=None, init=False)

    def scale(self, picture: VideoFrame, width: int, height: int) -> VideoFrame:
        """
        Scale and convert a picture; one that is as it should be is returned itself.

        It then says its colour, which is BT.709 where the matrix of a picture of :data:`HD_LINES` is not told: its
        player would take a smaller one for BT.601.
        """
        colour = colour_of_picture(picture)
        if is_hdr(colour.transfer):
            picture = self._tone_mapped(picture, colour, width, height)
            colour = Colour(_BT709, _BT709, _BT709)
        elif picture.format.is_rgb or (colour.matrix == UNSPECIFIED and min(picture.width, picture.height) >= HD_LINES):
            colour = _filled(colour, _BT709)
        scaled = self._reformatted(picture, colour, width, height)
        scaled.color_range = _LIMITED
        scaled.color_primaries, scaled.color_trc = colour.primaries, colour.transfer
        scaled.colorspace = colour.matrix
        return scaled

    def _reformatted(self, picture: VideoFrame, colour: Colour, width: int, height: int) -> VideoFrame:
        """Uses one thread: other broadcasts use the other cores."""
        source_range, target_range = _ranges(picture)
        return self._reformatter.reformat(
            picture,
            width,
            height,
            OUTPUT_FORMAT,
            dst_colorspace=Colorspace.ITU709 if picture.format.is_rgb else None,
            interpolation=Interpolation.BICUBIC,
            src_color_range=source_range,
            dst_color_range=target_range,
            threads=1,
        )

    def _tone_mapped(self, picture: VideoFrame, colour: Colour, width: int, height: int) -> VideoFrame:
        mapper = self._tone_mapper
        if mapper is None or (mapper.transfer, mapper.primaries) != (colour.transfer, colour.primaries):
            mapper = self._tone_mapper = ToneMapper(colour.transfer, colour.primaries)
        rgb = self._to_rgb.reformat(
            picture,
            width,
            height,
            RGB_FORMAT,
            src_colorspace=_BT2020_MATRIX if colour.matrix == UNSPECIFIED else None,
            interpolation=Interpolation.BICUBIC,
            src_color_range=_ranges(picture)[0],
            dst_color_range=_FULL,
            threads=1,
        )
        return mapper.map(rgb)


def _ranges(picture: VideoFrame) -> tuple[int, int]:
    """
    The ranges that a picture is scaled from and to.

    libswscale takes grey pictures for full-range ones, whatever they say: then nothing is to change of a limited one.
    """
    is_full = picture.color_range == _FULL or picture.format.name.startswith("yuvj") or picture.format.is_rgb
    if picture.format.name.startswith("gray") and not is_full:
        return _FULL, _FULL
    return (_FULL if is_full else _LIMITED), _LIMITED


def _filled(colour: Colour, code: int) -> Colour:
    """The colour with ``code`` as its matrix, and where the others are not told."""
    return Colour(
        code if colour.primaries == UNSPECIFIED else colour.primaries,
        code if colour.transfer == UNSPECIFIED else colour.transfer,
        code,
    )
