"""What this node has announced itself: the windows of its own streams, for the bus and for HTTP clients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, evolve, field

from livestream.bus.announcements import encode_document
from livestream.bus.changes import Changes
from livestream.bus.interface import Bus, Tier
from livestream.model.segments import Announcement, ObjectInfo, StreamPosition
from livestream.packaging.window import Window

Changed = Callable[[str, Announcement | None], None]


@define(eq=False)
class PublishedStreams:
    """
    What this node, ``node``, has announced as a member of ``tier``, as far as it can still be fetched here.

    An `livestream.bus.interface.AnnouncementLog`, from which the bus restores its own log.
    """

    bus: Bus
    tier: Tier
    length: int
    node: str = ""
    _windows: dict[str, Window] = field(factory=dict, init=False)
    _changes: Changes = field(factory=Changes, init=False)
    _subscribers: list[Changed] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.bus.restore_from(self.tier, self)

    def subscribe(self, changed: Changed) -> None:
        """Have ``changed(stream, announcement)`` called after every change, with ``None`` when a stream is removed."""
        self._subscribers.append(changed)

    def record(self, announcement: Announcement) -> list[Announcement]:
        """Record an announcement without sending it to the bus; return what of it was new."""
        stream = announcement.stream
        window = self._windows.get(stream)
        if window is None:
            window = self._windows[stream] = Window(stream, self.length)
        news = window.apply([evolve(announcement, node=self.node)])
        self._changes.note(window, news)
        for each in news:
            for changed in self._subscribers:
                changed(stream, each)
        return news

    def announce(self, announcement: Announcement) -> None:
        """Record an announcement, and publish it on the bus."""
        for news in self.record(announcement):
            self.bus.publish(self.tier, news)

    def remove(self, stream: str) -> None:
        """Remove a stream, here and from the bus."""
        if self._windows.pop(stream, None) is not None:
            self._changes.remove(stream)
            self.bus.discard(self.tier, stream)
            for changed in self._subscribers:
                changed(stream, None)

    def window(self, stream: str) -> Window | None:
        return self._windows.get(stream)

    def windows(self) -> list[Window]:
        return list(self._windows.values())

    def is_on_air(self, stream: str) -> bool:
        """Whether a broadcast of the stream has begun and not ended."""
        window = self._windows.get(stream)
        return window is not None and window.is_on_air

    def object_info(self, stream: str, rendition: str, name: str) -> ObjectInfo | None:
        """An object that can still be fetched here; ``None`` if it is unknown."""
        window = self._windows.get(stream)
        return None if window is None else window.object_info(rendition, name)

    def position(self, stream: str) -> StreamPosition:
        """How far the stream has come at this node."""
        window = self._windows.get(stream)
        return StreamPosition() if window is None else window.position()

    def streams(self) -> Sequence[str]:
        return list(self._windows)

    def announcements(self, stream: str) -> Sequence[Announcement]:
        window = self._windows.get(stream)
        return () if window is None else window.announcements()

    def every(self) -> bytes:
        """The announcements of all streams, encoded for the downstream tier."""
        return encode_document(each for window in self._windows.values() for each in window.announcements())

    def since(self, token: str) -> tuple[bytes, str]:
        """
        The announcements of all streams since the answer that carried ``token``, and the token for the next request.

        An unknown token gets everything. A long answer is split over several requests.
        """
        announcements, next_token = self._changes.since(token)
        return encode_document(announcements), next_token

    def one(self, stream: str) -> bytes | None:
        """The announcements of one stream, encoded for the downstream tier; ``None`` if it is unknown."""
        window = self._windows.get(stream)
        return None if window is None else encode_document(window.announcements())
