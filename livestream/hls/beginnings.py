"""
Playlists that are not there yet, but will be: of a broadcast that has begun, and of its renditions that follow.

Who asks for one waits for what is announced of the stream, as long as that may take. A media playlist is answered in
that instant; a multivariant playlist, which players read once, when all renditions may be in it. A stream that nobody
publishes is never waited for.
"""

from __future__ import annotations

from functools import partial

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from livestream.hls.objects import Wait
from livestream.hls.paths import Kind, Target
from livestream.hls.playlists import Playlists
from livestream.http.response import Representation
from livestream.metrics import Metrics
from livestream.net.waiting import WaitingViewers

WAIT_TARGETS = 2
"""A request waits for so many target durations: by then a player that got an error would have asked again."""
TOGETHER_S = 0.1
"""The first segments of all renditions are announced together, one after the other: within this time, all arrive."""


class NotBegun(LookupError):
    """The playlist did not come in time, or is not to come any more."""


@define(eq=False)
class Beginnings:
    """
    The requests that wait for playlists, ``limit`` of them at most.

    ``segment_s`` is the target duration, in seconds, of a stream that has not told its own yet.
    """

    playlists: Playlists
    segment_s: float
    limit: int
    clock: IReactorTime
    metrics: Metrics
    _waiting: WaitingViewers = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._waiting = WaitingViewers(self.clock)
        self.playlists.on_change.append(self._waiting.announced)

    def __len__(self) -> int:
        return len(self._waiting)

    def find(self, target: Target, gzip: bool) -> Wait | None:
        """How to wait for a playlist that is not there; ``None``: it is not to be expected, or too many wait."""
        if not self._is_expected(target):
            return None
        if len(self._waiting) >= self.limit:
            self.metrics.limit_hit("waiting_requests")
            return None
        return partial(self._wait, target, gzip)

    def _wait(self, target: Target, gzip: bool) -> Deferred[Representation]:
        """The playlist, once it is there. It may be cancelled, and fails with `NotBegun`."""
        return Deferred.fromCoroutine(self._await(target, gzip))

    async def _await(self, target: Target, gzip: bool) -> Representation:
        window = self.playlists.windows.window(target.stream)
        target_s = max(self.segment_s, 0 if window is None else window.target_s)
        until = self.clock.seconds() + WAIT_TARGETS * target_s
        while (left_s := until - self.clock.seconds()) > 0 and self._is_expected(target):
            await self._waiting.wait(target.stream, left_s)
            if target.kind is Kind.MULTIVARIANT and self.playlists.ready(target, gzip) is not None:
                await self._wait_for_all(target.stream)
            found = self.playlists.ready(target, gzip)
            if found is not None:
                return found
        raise NotBegun(target.path)

    async def _wait_for_all(self, stream: str) -> None:
        """Something was announced: wait for what is announced together with it."""
        until = self.clock.seconds() + TOGETHER_S
        while (left_s := until - self.clock.seconds()) > 0:
            await self._waiting.wait(stream, left_s)

    def _is_expected(self, target: Target) -> bool:
        windows = self.playlists.windows
        if not windows.is_on_air(target.stream):
            return False
        window = windows.window(target.stream)
        return target.kind is Kind.MULTIVARIANT or window is None or not window.is_settled
