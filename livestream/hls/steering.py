"""
Directs viewers over HTTP to the edge that they are to use.

``/go/live/STREAM/master.m3u8`` and ``/go/live/STREAM.flv`` send a player to the best edge before it begins;
``/steer/STREAM`` is what a player that supports HLS content steering asks again and again while it plays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import parse_qsl

from attrs import define

from livestream.hls.paths import Kind
from livestream.http.client_address import TrustedProxies
from livestream.http.response import Response, ResponseFactory
from livestream.model.names import NODE, STEERING_PATH, media_uri, steering_path
from livestream.packaging.playlist import PATHWAY
from livestream.packaging.window import Window
from livestream.steering.nodes import Node
from livestream.steering.pathways import manifest

TTL_S = 10
"""A player asks again after so many seconds."""

MANIFEST_TYPE = b"application/vnd.apple.steering-list"

METHODS = (b"GET", b"HEAD")

_QUERY = re.compile(rb"[A-Za-z0-9._~=&%-]{1,256}")
_NODE = re.compile(NODE)
_QUERY_FIELDS = 16


class EdgeSelector(Protocol):
    """Whoever knows which edges there are."""

    def order(self, stream: str, address: str, current: str) -> Sequence[Node]:
        """
        The edges for a viewer at ``address``, best first; all that live, so that it is empty only when none does.

        ``current`` is the id of the node that the viewer uses now; it may be of none, or empty.
        """


@define(eq=False)
class Steering:
    """
    Answers requests for an edge. The choice depends on the viewer's address, and on where it plays now, alone.

    ``node`` is the id of this node, and ``seconds`` the wall clock. Without a selector, viewers stay here.
    """

    node: str
    selector: EdgeSelector | None
    proxies: TrustedProxies
    window: Callable[[str], Window | None]
    responses: ResponseFactory
    seconds: Callable[[], float]

    def response(self, method: bytes, target: bytes, forwarded: bytes, peer: str) -> Response | None:
        """
        The response to a request of ``peer``; ``None`` when it is not for the best edge.

        ``forwarded`` is what it has as X-Forwarded-For.
        """
        path, _, query = target.partition(b"?")
        match = STEERING_PATH.fullmatch(path)
        if match is None or method not in METHODS:
            return None
        address = self.proxies.viewer(peer, forwarded.decode("latin-1"))
        if match["steered"] is None:
            return self._go(match["sent"].decode("ascii"), match["media"].decode("ascii"), query, address)
        return self._steer(match["steered"].decode("ascii"), query.decode("latin-1"), address)

    def _go(self, stream: str, path: str, query: bytes, address: str) -> Response:
        """A redirect, a relative one if the player stays here; what is no plain query is dropped from it."""
        edges = self.selector.order(stream, address, "") if self.selector is not None else ()
        kept = f"?{query.decode('ascii')}" if _QUERY.fullmatch(query) else ""
        there = f"{edges[0].http}{path}" if edges else media_uri(path)
        return self.responses.redirect(f"{there}{kept}", self.seconds(), Kind.REDIRECT)

    def _steer(self, stream: str, query: str, address: str) -> Response:
        if self.selector is None:
            return self.responses.error("404 Not Found", self.seconds(), Kind.STEERING)
        base, current = self._whereabouts(query)
        edges = self.selector.order(stream, address, current)
        if not edges:  # a player goes on where it is, and asks again
            again = (b"Retry-After", b"%d" % TTL_S)
            return self.responses.error("503 Service Unavailable", self.seconds(), Kind.STEERING, again)
        there = stream if edges[0].id == self.node else f"{edges[0].http}{steering_path(stream)}"
        reload = f"{there}?base={base}"
        window = self.window(stream)
        variants = [info.name for info in window.renditions()] if window is not None else []
        text = manifest(edges, base, stream, TTL_S, reload, variants)
        return self.responses.document(text.encode("ascii"), MANIFEST_TYPE, self.seconds(), Kind.STEERING)

    def _whereabouts(self, query: str) -> tuple[str, str]:
        """The node that the player's own playlist came from, and the one that it plays from now, by their ids."""
        try:
            fields = dict(parse_qsl(query, max_num_fields=_QUERY_FIELDS))
        except ValueError:
            fields = {}
        base, pathway = fields.get("base", ""), fields.get("_HLS_pathway", PATHWAY).strip('"')
        if _NODE.fullmatch(base) is None:
            base = self.node
        return base, base if pathway == PATHWAY else pathway
