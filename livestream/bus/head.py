"""
A stream's head, as the bus keeps it: who its writer is, and how far the stream has come.

The scripts of `livestream.bus.scripts` apply the same rules in Redis.
"""

from __future__ import annotations

from attrs import define, evolve, field

from livestream.model.epochs import later_epoch
from livestream.model.segments import Announcement, SegmentAnnounced, StreamEnded, StreamPosition, Superseded


def position_of(announcement: Announcement) -> StreamPosition:
    """How far a stream has come with this announcement."""
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
    """Changed by claims and by the writers' announcements, each of which is checked first."""

    position: StreamPosition = field(factory=StreamPosition)
    owner: str = ""
    first_msn: int | None = None
    accepted_at: float | None = None

    def claim(self, node: str, epoch: int) -> int:
        """Make ``node`` the writer, and return the number of its epoch."""
        epoch = later_epoch(epoch, self.position.epoch)
        self.position = evolve(self.position, epoch=epoch)
        self.owner, self.first_msn = node, None
        return epoch

    def silent_s(self, now: float) -> float:
        """Seconds since an announcement was last accepted; 0 if there is no active writer."""
        return 0.0 if self.accepted_at is None else now - self.accepted_at

    def release(self, epoch: int) -> None:
        """The writer of an epoch pauses, or has finished."""
        if self.position.epoch == epoch:
            self.accepted_at = None

    def accept(self, node: str, announcement: Announcement, now: float = 0.0) -> None:
        """
        Accept an announcement from a writer at ``now``, in seconds.

        A former writer may still announce segments that it numbered before it was superseded.

        :raises Superseded: the number may belong to a younger epoch, or the end of the stream does.
        """
        epoch, announced = announcement.epoch, position_of(announcement)
        if self.position.epoch > epoch.number:
            last_msn = self.position.msn if self.first_msn is None else self.first_msn - 1
            if announced.is_ended or announced.msn > last_msn:
                raise Superseded(self.position.epoch)
            return
        if self.position.epoch < epoch.number:
            self.owner = node
        self.first_msn, self.accepted_at = epoch.first_msn, now
        self.position = StreamPosition(
            epoch.number,
            max(self.position.msn, announced.msn),
            max(self.position.discontinuity, announced.discontinuity),
            max(self.position.ends_at_ms, announced.ends_at_ms),
            announced.target_s or self.position.target_s,
            announced.is_ended,
        )
