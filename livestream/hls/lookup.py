"""
Looks up what a request under ``/live/`` names, for the fast path and for Klein: both get the same response.

A name is ready, has to be waited for, or is missing; :meth:`Lookup.find` says which.

Viewers of HLS are not admitted one by one, as those of the push are (see `livestream.model.admission`): anybody gets an
answer to each request. An admission belongs to the multivariant playlist, which a player requests once.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.hls.beginnings import Beginnings
from livestream.hls.objects import CachedObject, Objects, Wait
from livestream.hls.paths import Target
from livestream.hls.playlists import Playlists
from livestream.http.conditions import Conditions
from livestream.http.response import Field, Representation, Response, ResponseFactory
from livestream.net.body import Body
from livestream.net.log_summary import LogSummary

UNAVAILABLE = "{count} requests for unavailable objects in the last {seconds} s, such as {path}: {reason}"


@frozen
class MediaRequest:
    """One request: what is asked for, and on which conditions; a HEAD wants no body."""

    target: Target
    conditions: Conditions
    is_head: bool = False


@frozen
class _RecentResponse:
    """The last response for something that was waited for: a herd of waiters is given the same."""

    body: Body
    outcome: str
    conditions: Conditions
    second: int
    response: Response

    def is_for(self, found: CachedObject | Representation, conditions: Conditions, second: int) -> bool:
        if self.body is not found.body or self.outcome != found.outcome:
            return False
        return self.second == second and self.conditions == conditions


@define(eq=False)
class Lookup:
    """
    Responses by name. ``clock`` has the wall clock's time.

    Without ``beginnings`` a playlist that is not there is missing at once.
    """

    playlists: Playlists
    objects: Objects
    responses: ResponseFactory
    clock: IReactorTime
    beginnings: Beginnings | None = None
    _unavailable: LogSummary = field(init=False)
    _recent: _RecentResponse | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._unavailable = LogSummary(self.log, UNAVAILABLE, self.clock)

    def find(self, target: Target, *, gzip: bool) -> Representation | Wait | None:
        """What a playlist's or an object's name stands for now, or how to wait for it; ``None``: nothing has it."""
        if target.name:
            return self.objects.find(target)
        ready = self.playlists.ready(target, gzip)
        if ready is not None or self.beginnings is None:
            return ready
        return self.beginnings.find(target, gzip)

    def respond(self, representation: Representation, request: MediaRequest) -> Response:
        """The response with what is ready."""
        response = self.responses.found(representation, request.conditions, self.clock.seconds())
        return response.without_body() if request.is_head else response

    def wait(self, wait: Wait, request: MediaRequest) -> Deferred[Response]:
        """
        The response with what has to be waited for, as soon as its first bytes are here.

        It may be cancelled, and fails only then.
        """
        return wait().addCallbacks(self._arrived, self._failed, (request,), errbackArgs=(request,))

    def response(self, request: MediaRequest) -> Deferred[Response]:
        """The response, whatever it takes. It may be cancelled, and fails only then."""
        found = self.find(request.target, gzip=request.conditions.gzip)
        if found is None:
            return succeed(self._error("404 Not Found", request))
        if isinstance(found, Representation):
            return succeed(self.respond(found, request))
        return self.wait(found, request)

    def is_stream(self, stream: str) -> bool:
        """Whether anything is known of a stream of this name."""
        return self.playlists.windows.window(stream) is not None

    def _arrived(self, found: CachedObject | Representation, request: MediaRequest) -> Response:
        recent, now = self._recent, self.clock.seconds()
        if recent is None or not recent.is_for(found, request.conditions, int(now)):
            if not isinstance(found, Representation):
                representation = self.objects.representation(request.target.kind, found)
            else:
                representation = found
            response = self.responses.found(representation, request.conditions, now)
            recent = self._recent = _RecentResponse(found.body, found.outcome, request.conditions, int(now), response)
        return recent.response.without_body() if request.is_head else recent.response

    def _failed(self, failure: Failure, request: MediaRequest) -> Response | Failure:
        if failure.check(CancelledError):
            return failure
        if failure.check(LookupError):
            return self._error("404 Not Found", request)
        self._unavailable.note(path=request.target.path, reason=failure.getErrorMessage())
        return self._error("503 Service Unavailable", request, (b"Retry-After", b"1"))

    def _error(self, status: str, request: MediaRequest, *extra: Field) -> Response:
        response = self.responses.error(status, self.clock.seconds(), request.target.kind, *extra)
        return response.without_body() if request.is_head else response
