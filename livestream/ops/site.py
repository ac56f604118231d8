"""For those who run a node: is it well, what does it count, what does it carry."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from ipaddress import ip_address
from typing import Any, ClassVar

from attrs import define, field
from klein import Klein
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException

from livestream.http.assets import Assets, page
from livestream.http.counters import RequestCounters
from livestream.http.limits import HttpLimits
from livestream.http.site import HttpSite
from livestream.metrics import Metrics
from livestream.model.names import stream_name
from livestream.ops.admission import OpsAdmission

METHODS = ("GET", "HEAD")
STATIC = files("livestream.ops") / "static"
TYPES = {"cluster.js": "text/javascript; charset=utf-8", "cluster.css": "text/css; charset=utf-8"}


@define(eq=False)
class Ops:
    """
    The operations endpoint of one process. It is for its own port, and tells all whom that lets in.

    ``ready`` has the reasons, in plain words, why this node should get no traffic yet; none: it is ready. ``warnings``
    has what is wrong with it all the same. ``streams`` describes what the node knows, as what becomes JSON, and
    ``nodes`` the cluster. ``route`` has the edges for a viewer of a stream at an address, best first; without it there
    is no cluster. ``drain`` takes this node out of service and ends the process.
    """

    ready: Callable[[], list[str]]
    streams: Callable[[], Sequence[Mapping[str, Any]]]
    metrics: Metrics
    route: Callable[[str, str], Sequence[Mapping[str, Any]]] | None = None
    drain: Callable[[], object] | None = None
    nodes: Callable[[], Sequence[Mapping[str, Any]]] = list
    warnings: Callable[[], list[str]] = list
    _assets: Assets = field(factory=lambda: Assets.of(STATIC, TYPES), init=False)
    _page: str = field(factory=lambda: (STATIC / "cluster.html").read_text("utf-8"), init=False)

    router: ClassVar[Klein] = Klein()

    def resource(self) -> IResource:
        return self.router.resource()

    @router.route("/healthz", methods=METHODS)
    def health(self, request: IRequest) -> bytes:
        """The process runs its loop: that this is answered says it."""
        return _json(request, {"status": "ok"})

    @router.route("/readyz", methods=METHODS)
    def readiness(self, request: IRequest) -> bytes:
        """200 when viewers and tiers below may be sent here, whatever the warnings, or 503 with the reasons why not."""
        reasons = self.ready()
        if reasons:
            request.setResponseCode(503)
        return _json(request, {"ready": not reasons, "reasons": reasons, "warnings": self.warnings()})

    @router.route("/metrics", methods=METHODS)
    def counts(self, request: IRequest) -> bytes:
        """All metrics, in Prometheus' text format."""
        return _document(request, CONTENT_TYPE_LATEST.encode("ascii"), generate_latest(self.metrics.registry))

    @router.route("/api/v1/streams", methods=METHODS)
    def known(self, request: IRequest) -> bytes:
        """The streams of this node."""
        return _json(request, {"streams": list(self.streams())})

    @router.route("/drain", methods=["POST"])
    def go(self, request: IRequest) -> bytes:
        """Have the node go, as SIGTERM does; 202 when it is going."""
        if self.drain is None:
            return _refusal(request, 403, "draining is not available here")
        self.drain()
        request.setResponseCode(202)
        return _json(request, {"draining": True})

    @router.route("/api/v1/nodes", methods=METHODS)
    def cluster(self, request: IRequest) -> bytes:
        """The nodes of the cluster, as this one knows them; itself first."""
        return _json(request, {"nodes": list(self.nodes())})

    @router.route("/cluster", methods=METHODS)
    def overview(self, request: IRequest) -> bytes:
        """The same for people, as a table and a map."""
        return page(request, self._page)

    @router.route("/static/<name>", methods=METHODS)
    def static(self, request: IRequest, name: str) -> bytes:
        """What the page is made of."""
        return self._assets.body(request, name)

    @router.route("/api/v1/route", methods=METHODS)
    def best(self, request: Request) -> bytes:
        """``?stream=STREAM&address=IP``: where to send a viewer, for DNS servers and gateways."""
        if self.route is None:
            return _refusal(request, 404, "no edges to choose from: set cluster.secret, and run one role per process")
        try:
            stream = stream_name(_argument(request, b"stream"))
            address = str(ip_address(_argument(request, b"address")))
        except ValueError as error:
            return _refusal(request, 400, f"use ?stream=STREAM&address=IP: {error}")
        return _json(request, {"stream": stream, "address": address, "edges": list(self.route(stream, address))})

    @router.handle_errors(HTTPException)
    def not_routed(self, request: IRequest, failure: Failure) -> bytes:
        """No such path, or no such method on it."""
        assert isinstance(failure.value, HTTPException)
        return _refusal(request, failure.value.code or 500, failure.value.name.lower())


def _argument(request: Request, name: bytes) -> str:
    values: list[bytes] = request.args.get(name, [b""])
    return values[0][:64].decode("utf-8", "replace")


def _refusal(request: IRequest, code: int, reason: str) -> bytes:
    request.setResponseCode(code)
    return _json(request, {"error": reason})


def _json(request: IRequest, fields: Mapping[str, Any]) -> bytes:
    return _document(request, b"application/json", json.dumps(fields).encode("ascii") + b"\n")


def _document(request: IRequest, kind: bytes, data: bytes) -> bytes:
    for name, value in (
        (b"content-type", kind),
        (b"cache-control", b"no-store"),
        (b"content-length", b"%d" % len(data)),
    ):
        request.setHeader(name, value)
    return data


def ops_site(ops: Ops, admission: OpsAdmission, clock: IReactorTime, limits: HttpLimits) -> HttpSite:
    """The site of the operations port. Whoever watches a node asks it every second: its requests are not logged."""
    return HttpSite(
        ops.resource(),
        admission.responses,
        RequestCounters(ops.metrics),
        clock,
        limits=limits,
        admission=admission,
        connections_limit="ops_connections",
    )
