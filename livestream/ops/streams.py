"""Streams as the operations API shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from livestream.packaging.window import Window


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
