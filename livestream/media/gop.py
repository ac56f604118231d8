"""What a new viewer is given first: the decoder configurations, and every frame since the last key frame."""

from __future__ import annotations

from attrs import define, field

from livestream.model import AUDIO, VIDEO, Frame, Track

TAIL_MS = 500
"""So much is kept of the sounds before a group."""


@define(eq=False)
class GopCache:
    """
    The newest group of pictures of a stream, bounded in bytes and in time, and the sounds right before it.

    A group that outgrows a bound is dropped whole: a viewer then waits for the next key frame, and memory stays flat.
    """

    limit_bytes: int = 16 << 20
    limit_ms: int = 20_000
    configs: dict[Track, Frame] = field(factory=dict, init=False)
    _group: list[Frame] = field(factory=list, init=False)
    _tail: list[Frame] = field(factory=list, init=False)
    _bytes: int = field(default=0, init=False)

    def add(self, frame: Frame) -> None:
        """Keep a frame, and let go of what came before it if it begins a group."""
        if frame.is_config:
            self.configs[frame.track] = frame
            return
        group = self._group
        if frame.is_key and self._begins_group(frame):
            self._clear()
            self._tail = _sounds(group, frame.dts_ms - TAIL_MS)
            group = self._group
        elif not group:
            return
        group.append(frame)
        self._bytes += len(frame.body)
        if self._bytes > self.limit_bytes or frame.dts_ms - group[0].dts_ms > self.limit_ms:
            self._clear()

    def frames(self) -> list[Frame]:
        """Configurations, then the group from its key frame on, in the order of arrival."""
        return [*self.configs.values(), *self._group]

    def frames_to_resume(self) -> list[Frame]:
        """
        The same, with the sounds right before the group.

        Whoever was cut off from another node right before the key frame lacks them: sound is sent behind the pictures
        that it belongs to. Pictures from there would be of no use, since some before them may be missing as well.
        """
        return [*self.configs.values(), *self._tail, *self._group]

    def _begins_group(self, frame: Frame) -> bool:
        """Whether this key frame does: where there are pictures, a sound, which is always one, does not."""
        return VIDEO not in self.configs or frame.codec.track is VIDEO

    def _clear(self) -> None:
        self._group, self._tail = [], []
        self._bytes = 0


def _sounds(frames: list[Frame], since_ms: int) -> list[Frame]:
    return [frame for frame in frames if frame.codec.track is AUDIO and frame.dts_ms >= since_ms]
