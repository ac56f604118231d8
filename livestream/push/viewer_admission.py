"""Admission of viewers to the push, whatever they speak: who may watch what, and who may wait for it."""

from __future__ import annotations

from typing import ClassVar

from attrs import define, field
from twisted.logger import Logger, LogLevel

from livestream.model.admission import PlayRequest, PushProtocol, Reason, Refusal
from livestream.model.names import InvalidName, rendition_name, stream_name
from livestream.net.log_summary import LogSummary
from livestream.push.feed import Feed
from livestream.push.feeds import Availability, Feeds
from livestream.push.session import PlaybackSession

UPSTREAM_DELAY_S = 2.0
"""
An upstream node may learn of a broadcast some moments after this one: what is live as far as is known here, and refused
there, is requested again for so long.
"""
REFUSED = "{count} requests for streams that are not live in the last {seconds} s, such as {what} from {peer}"


@define(eq=False)
class ViewerAdmission:
    """Decides who may watch the ``feeds`` of a node: a viewer or, without waiting, a downstream relay."""

    feeds: Feeds
    refused: LogSummary = field()

    log: ClassVar[Logger] = Logger()

    @refused.default
    def _refused(self) -> LogSummary:
        return LogSummary(self.log, REFUSED, self.feeds.clock, LogLevel.info)

    def refusal(self, request: PlayRequest) -> Refusal | None:
        """
        Why a request is refused at once, which takes a few lookups and is not logged here; ``None``: `admit` decides.
        """
        try:
            stream_name(request.stream)
            rendition_name(request.rendition)
        except InvalidName as error:
            return Refusal(Reason.INVALID_NAME, str(error))
        refusal = self.feeds.refusal(request.stream, request.rendition)
        return None if refusal is not None and self._wait_s(request) > 0 and self.feeds.may_wait() else refusal

    async def admit(self, request: PlayRequest) -> PlaybackSession:
        """
        A session, as soon as its feed has frames. Cancel it when the viewer leaves before that.

        :raises Refusal: the viewer may not watch; or the stream is not live, and did not begin in time either.
        """
        refusal = self.refusal(request)
        if refusal is not None:
            self.log_refused(request)
            raise refusal
        self.feeds.audience += 1
        try:
            feed = await self._live_feed(request)
        except BaseException:  # refused, or cancelled
            self.feeds.audience -= 1
            raise
        return PlaybackSession(self.feeds, feed, request.protocol)

    def log_refused(self, request: PlayRequest) -> None:
        """Have a refusal in the log, with others. What was typed into an RTMP program may be a publishing key."""
        is_http = request.protocol in (PushProtocol.FLV, PushProtocol.FLV_WEBSOCKET)
        self.refused.note(what=f"'{request.stream}'" if is_http else "an RTMP play", peer=request.address)

    async def _live_feed(self, request: PlayRequest) -> Feed:
        """What is not live is waited for without a request upstream, and joined when something is announced of it."""
        feeds = self.feeds
        until = feeds.clock.seconds() + self._wait_s(request)
        while True:
            try:
                return await self._join(request, until)
            except Refusal:
                if feeds.clock.seconds() >= until or not feeds.may_wait():
                    self.log_refused(request)
                    raise
            await feeds.waiting.wait(request.stream, until - feeds.clock.seconds())

    async def _join(self, request: PlayRequest, until: float) -> Feed:
        feed = self.feeds.join(request.stream, request.rendition)
        try:
            await feed.ready(self._frames_until(request, until))
        except BaseException:  # refused, or cancelled
            self.feeds.leave(feed)
            raise
        return feed

    def _frames_until(self, request: PlayRequest, until: float) -> float:
        """Until when to wait for frames. What is not known to be live here is requested upstream once."""
        if self.feeds.availability(request.stream, request.rendition) is not Availability.LIVE:
            return 0.0
        return max(until, self.feeds.clock.seconds() + UPSTREAM_DELAY_S)

    def _wait_s(self, request: PlayRequest) -> float:
        return 0.0 if request.protocol is PushProtocol.RELAY else self.feeds.limits.wait_s
