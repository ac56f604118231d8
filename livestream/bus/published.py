"""What this node has announced itself: the windows of its own streams, for the bus and for those who ask over HTTP."""

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
class Ledger:
    """
    All that this node, ``node``, has announced to ``tier``'s listeners and that may still be fetched here.

    It is the node's log (`livestream.bus.interface.Log`), should the bus have lost it.
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
        """Have ``changed(stream, announcement)`` called after every change, with ``None`` when a stream goes."""
        self._subscribers.append(changed)

    def show(self, announcement: Announcement) -> list[Announcement]:
        """Tell who asks this node, from here on; what is no news changes nothing. Return what was news."""
        stream = announcement.stream
        window = self._windows.get(stream)
        if window is None:
            window = self._windows[stream] = Window(stream, self.length)
        news = window.take([evolve(announcement, node=self.node)])
        self._changes.note(window, news)
        for each in news:
            for changed in self._subscribers:
                changed(stream, each)
        return news

    def announce(self, announcement: Announcement) -> None:
        """Tell who listens on the bus as well."""
        for news in self.show(announcement):
            self.bus.publish(self.tier, news)

    def forget(self, stream: str) -> None:
        """A stream is long over here."""
        if self._windows.pop(stream, None) is not None:
            self._changes.forget(stream)
            self.bus.forget(self.tier, stream)
            for changed in self._subscribers:
                changed(stream, None)

    def window(self, stream: str) -> Window | None:
        return self._windows.get(stream)

    def windows(self) -> list[Window]:
        return list(self._windows.values())

    def object_info(self, stream: str, rendition: str, name: str) -> ObjectInfo | None:
        """What is known of an object that may be fetched here."""
        window = self._windows.get(stream)
        return None if window is None else window.object_info(rendition, name)

    def position(self, stream: str) -> StreamPosition:
        """How far a stream has come here."""
        window = self._windows.get(stream)
        return StreamPosition() if window is None else window.position()

    def streams(self) -> Sequence[str]:
        return list(self._windows)

    def announcements(self, stream: str) -> Sequence[Announcement]:
        window = self._windows.get(stream)
        return () if window is None else window.announcements()

    def every(self) -> bytes:
        """What was announced of all streams, as the tier below reads it."""
        return encode_document(each for window in self._windows.values() for each in window.announcements())

    def since(self, token: str) -> tuple[bytes, str]:
        """
        What was announced of all streams since an answer that came with ``token``, and a token for the next time.

        It is everything where the token is none that this process has given. Of much, the rest comes the next time.
        """
        announcements, next_token = self._changes.since(token)
        return encode_document(announcements), next_token

    def one(self, stream: str) -> bytes | None:
        """What was announced of one stream, as the tier below reads it."""
        window = self._windows.get(stream)
        return None if window is None else encode_document(window.announcements())
