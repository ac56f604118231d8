"""Announcements as they travel over Redis: signed with the cluster's secret, and checked when they are received."""

from __future__ import annotations

from typing import ClassVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from livestream.bus.announcements import InvalidMessage, decode, encode
from livestream.metrics import Metrics
from livestream.model.epochs import WRITERS
from livestream.model.segments import Announcement, SegmentAnnounced
from livestream.net.log_summary import LogSummary
from livestream.signing import seal, unseal

FUTURE_MS = 86_400_000
"""An announcement dated more than a day ahead would supersede every current one."""
PAST_MS = 1_800_000
"""No playlist reaches back farther than this, even between nodes whose clocks are minutes apart."""
INVALID = "{count} invalid messages on the bus in the last {seconds} s, such as: {error}"


@define(eq=False)
class AnnouncementCodec:
    """
    Encodes and decodes announcements; with a ``secret``, they are signed, and unsigned ones are invalid.

    Announcements never expire, so a replayed one says nothing new. Only one from long ago could do harm, by reviving a
    stream that has ended; with a ``secret``, those are invalid too.
    """

    secret: str = field(repr=False)
    clock: IReactorTime
    metrics: Metrics
    _invalid: LogSummary = field(init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._invalid = LogSummary(self.log, INVALID, self.clock)

    def encode(self, announcement: Announcement) -> bytes:
        return seal(encode(announcement), self.secret)

    def decode(self, message: bytes) -> Announcement | None:
        """Decode one message; ``None`` for an invalid one, which is counted and logged."""
        try:
            payload = unseal(message, self.secret)
            if payload is None:
                raise InvalidMessage("not signed with the cluster's secret")
            announcement = decode(payload)
            self._check_dates(announcement)
            return announcement
        except InvalidMessage as error:
            self.metrics.bus_messages.labels("invalid").inc()
            self._invalid.note(error=str(error))
            return None

    def decode_lines(self, text: bytes) -> list[Announcement]:
        """Decode the lines of some logs, without the invalid ones."""
        decoded = (self.decode(line) for line in text.splitlines())
        return [announcement for announcement in decoded if announcement is not None]

    def _check_dates(self, announcement: Announcement) -> None:
        now_ms = self.clock.seconds() * 1000
        latest_ms = announcement.epoch.number // WRITERS
        if isinstance(announcement, SegmentAnnounced):
            latest_ms = max(latest_ms, announcement.segment.starts_at_ms)
            if self.secret and announcement.segment.starts_at_ms < now_ms - PAST_MS:
                raise InvalidMessage("dated too far in the past")
        if latest_ms > now_ms + FUTURE_MS:
            raise InvalidMessage("dated too far in the future")
