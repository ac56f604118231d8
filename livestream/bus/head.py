"""
Who writes a stream and how far it has come, as the bus keeps it: one head for a stream.

The scripts of `livestream.bus.scripts` do the same in Redis.
"""

from __future__ import annotations

from attrs import define, evolve, field

from livestream.model.segments import Announcement, SegmentAnnounced, StreamEnded, StreamPosition, Superseded

WRITERS = 1000
"""An epoch's number ends in so many for its writer, so that two who take one at the same moment differ."""


def later_epoch(wanted: int, known: int) -> int:
    """The number ``wanted``, or, where a younger epoch is known, the next one that ends in the same digits."""
    return wanted if wanted > known else (known // WRITERS + 1) * WRITERS + wanted % WRITERS


def position_of(announcement: Announcement) -> StreamPosition:
    """How far a stream has come with what is announced."""
    epoch = announcement.epoch
    if isinstance(announcement, SegmentAnnounced):
        segment = announcement.segment
        ends_at_ms = segment.starts_at_ms + segment.duration_ms
        return StreamPosition(epoch.number, segment.msn, segment.discontinuity, ends_at_ms, announcement.target_s)
    if isinstance(announcement, StreamEnded):
        return StreamPosition(epoch.number, announcement.last_msn, is_ended=True)
    return StreamPosition(epoch.number, epoch.first_msn - 1)


@define(eq=False)
class Head:
    """Changed by takes and by what writers announce; every change is checked first."""

    position: StreamPosition = field(factory=StreamPosition)
    owner: str = ""
    first_msn: int | None = None
    accepted_at: float | None = None

    def take(self, node: str, epoch: int) -> int:
        """Let ``node`` be the writer, and return the number of its epoch."""
        epoch = later_epoch(epoch, self.position.epoch)
        self.position = evolve(self.position, epoch=epoch)
        self.owner, self.first_msn = node, None
        return epoch

    def silent_s(self, now: float) -> float:
        """How long ago anything was accepted; 0 where there is no writer who may have more."""
        return 0.0 if self.accepted_at is None else now - self.accepted_at

    def leave(self, epoch: int) -> None:
        """The writer of an epoch gives no more numbers for now."""
        if self.position.epoch == epoch:
            self.accepted_at = None

    def accept(self, node: str, announcement: Announcement, now: float = 0.0) -> None:
        """
        Note what a writer announces at ``now``, in seconds.

        One that is the writer no more may still announce what it had given numbers to.

        :raises Superseded: the number may be that of a younger epoch, or a younger one goes on after this end.
        """
        epoch, told = announcement.epoch, position_of(announcement)
        if self.position.epoch > epoch.number:
            last_msn = self.position.msn if self.first_msn is None else self.first_msn - 1
            if told.is_ended or told.msn > last_msn:
                raise Superseded(self.position.epoch)
            return
        if self.position.epoch < epoch.number:
            self.owner = node
        self.first_msn, self.accepted_at = epoch.first_msn, now
        self.position = StreamPosition(
            epoch.number,
            max(self.position.msn, told.msn),
            max(self.position.discontinuity, told.discontinuity),
            max(self.position.ends_at_ms, told.ends_at_ms),
            told.target_s or self.position.target_s,
            told.is_ended,
        )
