"""The Klein application of a node: playlists, objects, steering, and the state that downstream nodes ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, cast

from attrs import define
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from livestream.hls.lookup import Lookup, MediaRequest
from livestream.hls.paths import Kind, parse_path
from livestream.hls.steering import Steering
from livestream.http.conditions import Conditions
from livestream.http.counters import RequestCounters
from livestream.http.refusals import STATUS
from livestream.http.response import Field, Response, ResponseFactory
from livestream.http.twisted_writer import write
from livestream.model.admission import Refusal
from livestream.model.names import (
    APP,
    STEERING_PATH,
    TAKE_PATH,
    go_path,
    multivariant_path,
    object_path,
    playlist_path,
    state_path,
    steering_path,
    take_path,
    taken_path,
)

JSON = b"application/json"
STATE = b"X-Livestream-State"
"""The field of a response with how far the state of all streams is."""
METHODS = ("GET", "HEAD", "OPTIONS")
PICKED = (b"if-none-match", b"if-range", b"range", b"accept-encoding")


class States(Protocol):
    """The state of the streams, as the documents that downstream nodes read."""

    def every(self) -> bytes:
        """Every stream's state, a line of JSON for each announcement."""

    def since(self, token: str) -> tuple[bytes, str]:
        """What of that is new since the response that came with ``token`` (all for any other), and the next token."""

    def one(self, stream: str) -> bytes | None:
        """One stream's state as JSON; ``None`` when it is not known."""


class Takes(Protocol):
    """What other nodes ask when one of them takes a stream, and who has which."""

    def answer(self, kind: str, stream: str, epoch: str, signature: str) -> tuple[str, bytes]:
        """Answer ``POST /KIND/STREAM?epoch=EPOCH``: the status, and a JSON text."""

    def epochs(self) -> bytes:
        """The streams that this node has, each with the number of its epoch, as one JSON text."""


class Push(Protocol):
    """Viewers who want a stream pushed over their HTTP connection."""

    def view(self, request: Request, stream: str) -> Any:
        """Answer ``GET /live/STREAM.flv``: anything that a Klein route may return."""

    def describe(self, request: Request, stream: str) -> Any:
        """Answer a HEAD of the same."""


class Connected(Protocol):
    """The connection of a request."""

    @property
    def host(self) -> str:
        """The peer's address."""


@define(eq=False)
class Hls:
    """
    Answers every request that the fast path leaves. ``seconds`` is the wall clock.

    ``steering`` tells viewers which edge to use, ``push`` has the viewers of HTTP-FLV, ``rest`` the pages beside the
    media, and ``takes`` what other nodes ask; each may be missing.
    """

    lookup: Lookup
    responses: ResponseFactory
    counters: RequestCounters
    seconds: Callable[[], float]
    states: States | None = None
    push: Push | None = None
    rest: IResource | None = None
    takes: Takes | None = None
    steering: Steering | None = None

    router: ClassVar[Klein] = Klein()

    def resource(self) -> IResource:
        return self.router.resource()

    @router.route(multivariant_path("<stream>"), methods=METHODS)
    @router.route(playlist_path("<stream>", "<rendition>"), methods=METHODS)
    @router.route(object_path("<stream>", "<rendition>", "<name>"), methods=METHODS)
    async def media(self, request: Request, **_: str) -> None:
        """Playlists and objects. What they are called is read from the raw path, not from what was decoded of it."""
        target = parse_path(request.path)
        if request.method == b"OPTIONS":
            response = self._preflight(request)
        elif target is None:
            response = self.responses.error("404 Not Found", self.seconds())
        else:
            response = await self.lookup.response(
                MediaRequest(target, conditions_of(request), request.method == b"HEAD")
            )
        self.counters.count(response)
        await write(request, response)

    @router.route(f"/{APP}/<name>", methods=METHODS)
    def pushed(self, request: Request, name: str) -> Any:
        """``/live/STREAM.flv``, where the push takes over the connection of a GET."""
        target = parse_path(request.path)
        if target is None or target.kind is not Kind.FLV or self.push is None:
            raise NotFound
        if request.method == b"OPTIONS":
            return write(request, self._preflight(request))
        return (self.push.describe if request.method == b"HEAD" else self.push.view)(request, target.stream)

    @router.route(go_path(multivariant_path("<stream>")), methods=METHODS)
    @router.route(go_path(f"/{APP}/<stream>"), methods=METHODS)
    @router.route(steering_path("<stream>"), methods=METHODS)
    def best_edge(self, request: Request, **_: str) -> Deferred[None]:
        """Which edge to use. It is read from the raw target, as on the fast path."""
        if self.steering is None:
            raise NotFound
        if request.method == b"OPTIONS" and STEERING_PATH.fullmatch(request.path):
            return write(request, self._preflight(request))
        forwarded = b", ".join(request.requestHeaders.getRawHeaders(b"x-forwarded-for", []))
        peer = cast(Connected, request.channel).host
        response = self.steering.response(request.method, request.uri, forwarded, peer)
        if response is None:
            raise NotFound
        self.counters.count(response)
        return write(request, response)

    @router.route("/state")
    def every_state(self, request: Request) -> Any:
        """What is live, for downstream nodes; with ``?since=TOKEN``, what is new since the response with that token."""
        tokens = request.args.get(b"since")
        if self.states is None or tokens is None:
            return self._document(request, None if self.states is None else self.states.every())
        text, token = self.states.since(tokens[0].decode("ascii", "replace"))
        return self._document(request, text, (STATE, token.encode("ascii")))

    @router.route(state_path("<stream>"))
    def one_state(self, request: Request, stream: str) -> Any:
        """The state of one stream, for downstream nodes."""
        return self._document(request, None if self.states is None else self.states.one(stream))

    @router.route("/epochs")
    def epochs(self, request: Request) -> Any:
        """Which streams are here, for downstream relays that get nothing."""
        return self._document(request, None if self.takes is None else self.takes.epochs())

    @router.route(take_path("<stream>"), methods=["POST"])
    @router.route(taken_path("<stream>"), methods=["POST"])
    def take(self, request: Request, **_: str) -> Deferred[None]:
        """Another node takes a stream, or says that it was taken."""
        match = TAKE_PATH.fullmatch(request.path)
        if self.takes is None or match is None:
            raise NotFound
        epoch = request.args.get(b"epoch", [b""])[0].decode("ascii", "replace")
        kind, stream = match["kind"].decode("ascii"), match["stream"].decode("ascii")
        signature = request.getHeader("x-livestream-node") or ""
        status, text = self.takes.answer(kind, stream, epoch, signature)
        return write(request, self.responses.document(text, JSON, self.seconds(), status=status))

    @router.route("/", branch=True)
    def others(self, request: Request) -> Any:
        """The pages beside the media."""
        if self.rest is None:
            raise NotFound
        return self.rest

    @router.handle_errors(HTTPException)
    def not_routed(self, request: IRequest, failure: Failure) -> Deferred[None]:
        """No route: nobody may keep the response, and none is a redirect."""
        response = self.responses.error("404 Not Found", self.seconds())
        if failure.check(MethodNotAllowed):
            allow = (b"Allow", b"GET, HEAD, OPTIONS")
            response = self.responses.error("405 Method Not Allowed", self.seconds(), "", allow)
        return write(cast(Request, request), response)

    @router.handle_errors(Refusal)
    def refused(self, request: IRequest, failure: Failure) -> Deferred[None]:
        """The response to a viewer who is not admitted."""
        status = STATUS[cast(Refusal, failure.value).reason]
        retry: tuple[Field, ...] = ((b"Retry-After", b"1"),) if status.startswith("503") else ()
        return write(cast(Request, request), self.responses.error(status, self.seconds(), "", *retry))

    def _preflight(self, request: Request) -> Response:
        names = request.requestHeaders.getRawHeaders(b"access-control-request-headers", [])
        return self.responses.options(self.seconds(), b",".join(names))

    def _document(self, request: Request, text: bytes | None, *extra: Field) -> Deferred[None]:
        if text is None:
            raise NotFound
        return write(request, self.responses.document(text, JSON, self.seconds(), "", "200 OK", *extra))


def conditions_of(request: Request) -> Conditions:
    """The conditions of a request that Twisted has parsed."""
    raw = request.requestHeaders.getRawHeaders
    return Conditions.of({name: b", ".join(raw(name, [])) for name in PICKED})
