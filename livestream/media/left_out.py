"""What of a publisher's media is not served, or not as it should be, and why."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from attrs import define, field, frozen

from livestream.media.errors import MediaError
from livestream.model.frames import Track


class Reason(Enum):
    """Why something is left out; the value is a label of metrics."""

    CODEC = "codec"
    """Frames of a codec that cannot be served, among others that are."""
    CONFIGURATION = "configuration"
    """The decoder configuration cannot be used: it is broken, or of an unknown version."""
    NO_CONFIGURATION = "no_configuration"
    """No sequence header, without which nothing can be decoded."""
    CHANNEL_LAYOUT = "channel_layout"
    """Audio channels that players do not know."""
    FURTHER_TRACK = "further_track"
    """Another track of an Enhanced RTMP multitrack stream than the first."""
    KEY_FRAMES = "key_frames"
    """Nothing is left out, but the key frames are so far apart that HLS has long segments."""


@frozen
class LeftOut:
    """Something of ``track`` that is not served; ``text`` tells the broadcaster why, and what to do."""

    track: Track
    reason: Reason
    text: str


class NotServed(MediaError):
    """Media that is left out, for a reason that the broadcaster should know; the message is for the broadcaster."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@define(eq=False)
class LeftOutList:
    """What is left out of one publisher's media: for each track and reason, what was found first."""

    _found: dict[tuple[Track, Reason], LeftOut] = field(factory=dict, init=False)

    def add(self, item: LeftOut) -> bool:
        """Add something; return whether it is the first of its track and reason."""
        key = item.track, item.reason
        if key in self._found:
            return False
        self._found[key] = item
        return True

    def clear(self) -> None:
        """Another publisher follows."""
        self._found.clear()

    @property
    def items(self) -> Sequence[LeftOut]:
        return list(self._found.values())
