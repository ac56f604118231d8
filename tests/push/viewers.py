"""Viewers of feeds, without a protocol."""

from __future__ import annotations

from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred

from livestream.model.admission import PlayRequest, PushProtocol
from livestream.push.feeds import Feeds
from livestream.push.session import PlaybackSession
from livestream.push.viewer_admission import ViewerAdmission


@define(eq=False)
class Stay:
    """A viewer that asks to be admitted; ``seen`` has ``"ready"`` once it is, or else why not."""

    admission: Deferred[PlaybackSession]
    session: PlaybackSession | None = None
    seen: list[object] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.admission.addCallbacks(self._admitted, lambda failure: self.seen.append(failure.value))

    def watch(self, transport: Any, connection: Any) -> None:
        assert self.session is not None
        self.session.play(transport, connection)

    def leave(self) -> None:
        if self.session is not None:
            self.session.leave()
        else:
            self.admission.cancel()

    def _admitted(self, session: PlaybackSession) -> None:
        self.session = session
        self.seen.append("ready")


def come(
    viewers: ViewerAdmission | Feeds,
    stream: str = "show",
    rendition: str = "source",
    protocol: PushProtocol = PushProtocol.RTMP,
    wait_s: float | None = 0.0,
) -> tuple[Stay, list[object]]:
    """
    A viewer comes, and what becomes of that. It may wait ``wait_s``, or as the feeds' limits say if that is ``None``.

    :raises Refusal: it is refused at once.
    """
    admission = viewers if isinstance(viewers, ViewerAdmission) else ViewerAdmission(viewers)
    if wait_s is not None:
        admission.feeds.limits = evolve(admission.feeds.limits, wait_s=wait_s)
    request = PlayRequest(stream, rendition, {}, "192.0.2.1", protocol)
    stay = Stay(Deferred.fromCoroutine(admission.admit(request)))
    if stay.seen and isinstance(stay.seen[0], Exception):
        raise stay.seen[0]
    return stay, stay.seen
