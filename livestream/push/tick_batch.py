"""The frames of one push tick for the viewers of one protocol, joined once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field

from livestream.model.frames import Frame, Track

Join = Callable[[Sequence[Frame]], bytes]
"""Frames as the bytes of a protocol. The bytes hold no state of a viewer, so that they can be the same for all."""


def is_video_frame(frame: Frame) -> bool:
    """Whether it is video that a slow viewer can do without: a decoder configuration is never left out."""
    return frame.track is Track.VIDEO and not frame.is_config


@define(eq=False)
class Batch:
    """
    The frames of one tick.

    ``data`` is all of them. For viewers who miss video frames there are two other selections, which are joined when the
    first of them needs it: ``audio_only`` is the batch without video, and ``from_key_frame`` is the batch from its
    newest key frame on, with the audio from before it.
    """

    frames: Sequence[Frame]
    join: Join
    data: bytes = field(init=False)
    ends_ms: int = field(init=False)
    has_video: bool = field(default=False, init=False)
    _key: int = field(default=-1, init=False)
    _audio_only: bytes | None = field(default=None, init=False)
    _from_key_frame: bytes | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.data = self.join(self.frames)
        self.ends_ms = self.frames[-1].dts_ms
        for index, frame in enumerate(self.frames):
            if is_video_frame(frame):
                self.has_video = True
                if frame.is_key:
                    self._key = index

    @property
    def has_key_frame(self) -> bool:
        """Whether a decoder can begin with a video frame of this batch."""
        return self._key >= 0

    @property
    def audio_only(self) -> bytes:
        if self._audio_only is None:
            self._audio_only = self._select(len(self.frames))
        return self._audio_only

    @property
    def from_key_frame(self) -> bytes:
        """:raises ValueError: there is no key frame."""
        if not self.has_key_frame:
            raise ValueError("no key frame to resume with")
        if self._from_key_frame is None:
            self._from_key_frame = self._select(self._key)
        return self._from_key_frame

    def _select(self, begin: int) -> bytes:
        kept = [frame for index, frame in enumerate(self.frames) if index >= begin or not is_video_frame(frame)]
        return self.join(kept) if kept else b""
