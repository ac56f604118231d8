"""Streams as the operations API shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from livestream.media.left_out import LeftOut
from livestream.packaging.cuts import SourceMode
from livestream.packaging.window import Window


@frozen
class Source:
    """
    The publisher's end of a stream, as the node knows it that receives it.

    ``mode`` is what HLS gets of it, ``None`` while that is not decided; ``left_out`` is what is not served.
    """

    mode: SourceMode | None
    left_out: Sequence[LeftOut]


def described_all(windows: Iterable[Window], sources: Mapping[str, Source]) -> list[dict[str, Any]]:
    """All streams as what becomes JSON, and those of ``sources`` that have no segment yet."""
    streams = [described(window) for window in windows]
    listed = {each["stream"] for each in streams}
    streams += [{"stream": stream, "state": "starting"} for stream in sources if stream not in listed]
    for each in streams:
        source = sources.get(each["stream"])
        if source is not None:
            each["source"] = None if source.mode is None else source.mode.value
            each["left_out"] = [
                {"track": item.track.value, "reason": item.reason.value, "text": item.text} for item in source.left_out
            ]
    return streams


def described(window: Window) -> dict[str, Any]:
    """A stream as what becomes JSON."""
    return {
        "stream": window.stream,
        "state": "ended" if window.is_ended else "live",
        "epoch": window.epoch,
        "target_s": window.target_s,
        "last_msn": window.last_msn,
        "renditions": [
            {
                "name": info.name,
                "codecs": info.codecs,
                "bandwidth": info.bandwidth,
                "width": info.width,
                "height": info.height,
                "frame_rate": info.frame_rate,
                "video_range": info.video_range if info.width else None,
            }
            for info in window.renditions()
        ],
    }


def live_streams(windows: Iterable[Window]) -> list[str]:
    """The names of those that are live."""
    return [window.stream for window in windows if window.is_live]


def watched_streams(windows: Iterable[Window], viewers: Counter[str]) -> Mapping[str, int]:
    """Those that are live, with how many watch the push of each."""
    return {stream: viewers[stream] for stream in live_streams(windows)}
