"""Applies the table of :mod:`livestream.transcode.hdr` to pictures."""

from __future__ import annotations

from array import array
from functools import lru_cache

from attrs import define, field
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from livestream.transcode.decoding import MILLISECONDS
from livestream.transcode.hdr import sdr_table

RGB_FORMAT = "gbrpf32le"
"""
What is mapped. The filter confuses the planes of formats with integers (``update_clut_planar`` in libavfilter 11), and
takes three times as long for packed ones.
"""

_SIDE = 6
_LEVELS = _SIDE**2
"""
The table is a picture, since a confined process has no file to read it from. Its sides are ``_SIDE`` to the third
(Hald CLUT), for so many levels of each colour.
"""


@define(eq=False)
class ToneMapper:
    """Maps pictures of ``transfer`` characteristics and ``primaries`` (ITU-T H.273) to BT.709, one by one."""

    transfer: int
    primaries: int
    _graph: Graph | None = field(default=None, init=False)
    _size: tuple[int, int] = field(default=(0, 0), init=False)
    _input: FilterContext = field(init=False)
    _output: FilterContext = field(init=False)
    _count: int = field(default=0, init=False)

    def map(self, picture: VideoFrame) -> VideoFrame:
        """Map a picture of :data:`RGB_FORMAT` and full range. Its time is not kept."""
        if self._graph is None or self._size != (picture.width, picture.height):
            self._open(picture.width, picture.height)
        self._count += 1
        picture.pts, picture.time_base = self._count, MILLISECONDS
        self._input.push(picture)
        mapped = self._output.pull()
        assert isinstance(mapped, VideoFrame)
        return mapped

    def _open(self, width: int, height: int) -> None:
        graph = self._graph = Graph()
        graph.threads = 1
        self._size = width, height
        self._input = graph.add_buffer(
            width=width, height=height, format=VideoFormat(RGB_FORMAT), time_base=MILLISECONDS, name="pictures"
        )
        side = _SIDE**3
        table = graph.add_buffer(
            width=side, height=side, format=VideoFormat(RGB_FORMAT), time_base=MILLISECONDS, name="table"
        )
        clut = graph.add("haldclut", "interp=tetrahedral:clut=first")
        self._output = graph.add("buffersink")
        self._input.link_to(clut, 0, 0)
        table.link_to(clut, 0, 1)
        clut.link_to(self._output)
        graph.configure()
        table.push(_table_picture(self.transfer, self.primaries))
        table.push(None)


@lru_cache(maxsize=2)
def _table_picture(transfer: int, primaries: int) -> VideoFrame:
    """The table, whose entries follow each other row by row."""
    side = _SIDE**3
    picture = VideoFrame(side, side, RGB_FORMAT)
    picture.pts, picture.time_base = 0, MILLISECONDS
    entries = list(sdr_table(transfer, primaries, _LEVELS))
    for plane, part in zip(picture.planes, (1, 2, 0), strict=True):
        data = array("f", (entry[part] for entry in entries)).tobytes()
        row_bytes = side * 4
        rows = (data[at : at + row_bytes].ljust(plane.line_size, b"\0") for at in range(0, len(data), row_bytes))
        plane.update(b"".join(rows).ljust(plane.buffer_size, b"\0"))
    return picture
