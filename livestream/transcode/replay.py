"""What a transcoding child was given and may have to be given again, and what it is still to be given."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, evolve, field

from livestream.model.frames import Frame, Track
from livestream.transcode.commands import Source

KEPT_MS = 40_000
"""Nothing done is kept for longer, whatever is released."""


@define(eq=False)
class Waiting:
    """A frame, and when it was fed."""

    source: Source
    fed_at: float

    @property
    def pts_ms(self) -> int:
        return self.source.frame.pts_ms

    @property
    def begins_gop(self) -> bool:
        frame = self.source.frame
        return frame.track is Track.VIDEO and frame.is_key and not frame.is_config


@define(eq=False)
class Replay:
    """
    Frames in the order they were fed: those done, those in flight, those not sent.

    It begins with the configurations that its first frame needs, and then with a key frame.
    """

    from_ms: int = field(default=0, init=False)
    _kept: list[Waiting] = field(factory=list, init=False)
    _done: int = field(default=0, init=False)
    _sent: int = field(default=0, init=False)

    def __len__(self) -> int:
        """How many are not done."""
        return len(self._kept) - self._done

    @property
    def in_flight(self) -> int:
        return self._sent - self._done

    @property
    def oldest(self) -> Waiting | None:
        """The first that is not done."""
        return self._kept[self._done] if self._done < len(self._kept) else None

    @property
    def lag_ms(self) -> int:
        """The media that is not done."""
        oldest = self.oldest
        return 0 if oldest is None else max(self._kept[-1].pts_ms - oldest.pts_ms, 0)

    def add(self, source: Source, now: float) -> None:
        if source.is_cut:
            self._forget_before(source.frame.pts_ms - KEPT_MS)
        self._kept.append(Waiting(source, now))

    def next(self) -> Source | None:
        """The next to send, which is in flight from now on."""
        if self._sent == len(self._kept):
            return None
        self._sent += 1
        return self._kept[self._sent - 1].source

    def done(self) -> bool:
        """The first in flight is dealt with; false if there is none."""
        if self._done == self._sent:
            return False
        self._done += 1
        return True

    def release(self, before_ms: int) -> None:
        """What comes before the first cut at or after ``before_ms`` is not needed again."""
        if before_ms > self.from_ms:
            self._forget_before(before_ms)

    def rewind(self, now: float) -> None:
        """Everything is to be sent again."""
        self._done = self._sent = 0
        for waiting in self._kept:
            waiting.fed_at = now

    def current_gop(self) -> int | None:
        """Where the GOP of the oldest begins, by its presentation time; before the first GOP that one counts."""
        at = self._gop_start(self._done)
        if at is None:
            at = next((index for index, each in enumerate(self._kept) if each.begins_gop), None)
        return None if at is None else self._kept[at].pts_ms

    def drop_gop(self, key_ms: int) -> bool:
        """Leave out the pictures of the GOP that begins at ``key_ms``; true if its end is not here yet."""
        is_in, kept = False, []
        for waiting in self._kept:
            frame = waiting.source.frame
            if waiting.begins_gop:
                is_in = waiting.pts_ms == key_ms
            if not is_in or frame.track is Track.AUDIO or frame.is_config:
                kept.append(waiting)
        self._kept, self._done, self._sent = kept, 0, 0
        return is_in

    def _gop_start(self, at: int) -> int | None:
        for index in range(min(at, len(self._kept) - 1), -1, -1):
            if self._kept[index].begins_gop:
                return index
        return None

    def _forget_before(self, before_ms: int) -> None:
        before_ms = max(before_ms, self.from_ms)
        cut = next((at for at, each in enumerate(self._kept) if each.source.is_cut and each.pts_ms >= before_ms), None)
        start = None if cut is None else self._gop_start(cut)
        if cut is None or start is None or start > self._done:
            return
        self.from_ms = self._kept[cut].pts_ms
        head = list(self._still_needed(self._kept[:start], before_ms))
        self._kept[:start] = head
        self._done += len(head) - start
        self._sent += len(head) - start

    @staticmethod
    def _still_needed(passed: list[Waiting], before_ms: int) -> Iterator[Waiting]:
        """The last configuration of each track, and sounds that came before the pictures that they belong to."""
        configs: dict[Track, Waiting] = {}
        late: list[Waiting] = []
        for waiting in passed:
            frame: Frame = waiting.source.frame
            if frame.is_config:
                configs[frame.track] = waiting
            elif frame.track is Track.AUDIO and frame.pts_ms >= before_ms:
                late.append(waiting)
        for waiting in configs.values():
            yield Waiting(evolve(waiting.source, is_cut=False), waiting.fed_at)
        yield from late
