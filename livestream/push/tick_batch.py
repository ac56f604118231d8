"""What one push tick has for the viewers of one protocol, made once and given to all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field

from livestream.model.frames import Frame, Track

Join = Callable[[Sequence[Frame]], bytes]
"""Frames as the bytes of a protocol. The bytes hold no state of a viewer, so that they can be the same for all."""


def is_picture(frame: Frame) -> bool:
    """Whether a slow viewer can do without it: a decoder's configuration is never left out."""
    return frame.track is Track.VIDEO and not frame.is_config


@define(eq=False)
class Batch:
    """
    The frames of one tick.

    ``data`` is all of them. For the viewers who miss pictures there are two other selections, which are joined when the
    first such viewer needs them: ``sound`` is the batch without its pictures, and ``resumption`` is the batch from its
    newest key frame on, with the sound from before it.
    """

    frames: Sequence[Frame]
    join: Join
    data: bytes = field(init=False)
    ends_ms: int = field(init=False)
    has_pictures: bool = field(default=False, init=False)
    _key: int = field(default=-1, init=False)
    _sound: bytes | None = field(default=None, init=False)
    _resumption: bytes | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.data = self.join(self.frames)
        self.ends_ms = self.frames[-1].dts_ms
        for index, frame in enumerate(self.frames):
            if is_picture(frame):
                self.has_pictures = True
                if frame.is_key:
                    self._key = index

    @property
    def has_key(self) -> bool:
        """Whether a decoder can begin with a picture of this batch."""
        return self._key >= 0

    @property
    def sound(self) -> bytes:
        if self._sound is None:
            self._sound = self._select(len(self.frames))
        return self._sound

    @property
    def resumption(self) -> bytes:
        """:raises ValueError: there is no key frame."""
        if not self.has_key:
            raise ValueError("no key frame to resume with")
        if self._resumption is None:
            self._resumption = self._select(self._key)
        return self._resumption

    def _select(self, begin: int) -> bytes:
        kept = [frame for index, frame in enumerate(self.frames) if index >= begin or not is_picture(frame)]
        return self.join(kept) if kept else b""
