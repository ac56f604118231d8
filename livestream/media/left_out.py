"""What a publisher sends and is not served, and why."""

from __future__ import annotations

from enum import Enum

from attrs import define, field, frozen

from livestream.model.frames import Track


class Reason(Enum):
    """Why something is left out, as metrics call it."""

    CODEC = "codec"
    NO_CONFIGURATION = "no_configuration"
    CHANNEL_LAYOUT = "channel_layout"
    FURTHER_TRACK = "further_track"
    KEY_FRAME_INTERVAL = "key_frame_interval"


@frozen
class LeftOut:
    """Something of a track that is not served; ``text`` tells a broadcaster what, why, and what to do."""

    track: Track
    reason: Reason
    text: str


@define(eq=False)
class LeftOutList:
    """What was found of one broadcast, each once."""

    found: dict[tuple[Track, Reason], LeftOut] = field(factory=dict, init=False)

    def add(self, track: Track, reason: Reason, text: str) -> None:
        self.found.setdefault((track, reason), LeftOut(track, reason, text))
