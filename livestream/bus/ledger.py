"""What this node has announced itself: the windows of its own streams, told to the bus as they change."""

from __future__ import annotations

import json
from collections.abc import Callable

from attrs import define, evolve, field

from livestream.bus.announcements import encode_state, state_fields
from livestream.bus.memory import Bus, Tier
from livestream.model import Announcement, ObjectInfo, SegmentAnnounced
from livestream.packaging.window import Window

Changed = Callable[[str, Announcement | None], None]


@define(eq=False)
class Ledger:
    """Announces to ``tier``'s listeners as ``node``, and knows all that may still be fetched here."""

    bus: Bus
    tier: Tier
    length: int
    node: str = ""
    _windows: dict[str, Window] = field(factory=dict, init=False)
    _released: set[str] = field(factory=set, init=False)
    _subscribers: list[Changed] = field(factory=list, init=False)

    def subscribe(self, changed: Changed) -> None:
        """Have ``changed(stream, announcement)`` called after every change, with ``None`` when a stream goes."""
        self._subscribers.append(changed)

    def announce(self, announcement: Announcement) -> None:
        """Say that something is here now, and that what is missing before it will not come."""
        stream = announcement.stream
        if stream in self._released:
            self._released.discard(stream)
            del self._windows[stream]
        if isinstance(announcement, SegmentAnnounced):
            announcement = evolve(announcement, node=self.node)
        window = self._windows.get(stream)
        if window is None:
            window = self._windows[stream] = Window(stream, self.length)
        for news in window.fill(announcement):
            self.bus.publish(self.tier, news, window.state())
            for changed in self._subscribers:
                changed(stream, news)

    def forget(self, stream: str) -> None:
        """A stream is long over."""
        if self._windows.pop(stream, None) is not None:
            if stream in self._released:
                self._released.discard(stream)
            else:
                self.bus.forget(self.tier, stream)
            for changed in self._subscribers:
                changed(stream, None)

    def release(self, stream: str) -> None:
        """
        Another node has the stream now. What was announced can still be fetched here, until it is forgotten.

        If it comes back, it is announced as one that is new here.
        """
        if stream in self._windows:
            self._released.add(stream)
            self.bus.release(self.tier, stream)

    def window(self, stream: str) -> Window | None:
        return self._windows.get(stream)

    def windows(self) -> list[Window]:
        return list(self._windows.values())

    def object_info(self, stream: str, rendition: str, name: str) -> ObjectInfo | None:
        """What is known of an object that may be fetched here."""
        window = self._windows.get(stream)
        return None if window is None else window.object_info(rendition, name)

    def every(self) -> bytes:
        """Every stream's state, as the tier below reads it."""
        states = [state_fields(window.state()) for window in self._windows.values()]
        return json.dumps({"v": 1, "streams": states}, separators=(",", ":")).encode("ascii")

    def one(self, stream: str) -> bytes | None:
        """One stream's state, as the tier below reads it."""
        window = self._windows.get(stream)
        return None if window is None else encode_state(window.state())
