"""The frames that a new viewer starts with: the decoder configurations, and all since the last key frame."""

from __future__ import annotations

from attrs import define, field

from livestream.model.frames import VIDEO, Frame, Track


@define(eq=False)
class GopCache:
    """
    The newest group of pictures (GOP) of a stream, bounded in bytes and in time.

    A group that exceeds a bound is dropped entirely, and a viewer then waits for the next key frame.
    """

    limit_bytes: int = 16 << 20
    limit_ms: int = 20_000
    configs: dict[Track, Frame] = field(factory=dict, init=False)
    _group: list[Frame] = field(factory=list, init=False)
    _bytes: int = field(default=0, init=False)

    def add(self, frame: Frame) -> None:
        """Add a frame; if it begins a group, drop the previous one."""
        if frame.is_config:
            self.configs[frame.track] = frame
            return
        group = self._group
        if frame.is_key and self._begins_group(frame):
            self._clear()
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

    def clear(self) -> None:
        """Drop everything."""
        self.configs.clear()
        self._clear()

    def _begins_group(self, frame: Frame) -> bool:
        """Whether this key frame begins a group: with video, an audio frame, which is always a key frame, does not."""
        return VIDEO not in self.configs or frame.codec.track is VIDEO

    def _clear(self) -> None:
        self._group = []
        self._bytes = 0
