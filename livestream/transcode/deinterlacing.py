"""Makes progressive pictures of interlaced ones."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field
from av.error import BlockingIOError, EOFError
from av.filter import Graph
from av.video.frame import VideoFrame

from livestream.transcode.decoding import MILLISECONDS

MIN_SIDE = 16
"""The filter takes no smaller pictures; nobody sees their fields."""


@define(eq=False)
class Deinterlacer:
    """
    Makes one picture of every two fields that are shown at different times, in the order that the picture has them in.

    Pictures pass untouched until an interlaced one comes; from then on each one waits for its successor.
    """

    _graph: Graph | None = field(default=None, init=False)
    _input: tuple[int, int, str] | None = field(default=None, init=False)

    def process(self, picture: VideoFrame) -> Iterator[VideoFrame]:
        """Take a decoded picture with its time in ms, and yield those that are complete."""
        if self._graph is None and (not picture.interlaced_frame or min(picture.width, picture.height) < MIN_SIDE):
            yield picture
            return
        given = picture.width, picture.height, picture.format.name
        if given != self._input:
            yield from self.flush()
        if self._graph is None:
            self._graph, self._input = _graph(picture), given
        picture.time_base = MILLISECONDS
        self._graph.vpush(picture)
        yield from _finished(self._graph)

    def flush(self) -> Iterator[VideoFrame]:
        """Yield what waits; the next picture may be of another source."""
        graph, self._graph, self._input = self._graph, None, None
        if graph is not None:
            graph.vpush(None)
            yield from _finished(graph)


def _graph(picture: VideoFrame) -> Graph:
    """A graph with one thread: other broadcasts use the other cores."""
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(width=picture.width, height=picture.height, format=picture.format, time_base=MILLISECONDS)
    bwdif = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    graph.link_nodes(source, bwdif, graph.add("buffersink")).configure()
    return graph


def _finished(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            picture = graph.vpull()
        except (BlockingIOError, EOFError):
            return
        if picture.pts is not None and picture.time_base is not None:
            picture.pts, picture.time_base = round(picture.pts * picture.time_base / MILLISECONDS), MILLISECONDS
            yield picture
