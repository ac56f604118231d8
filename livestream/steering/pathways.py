"""The steering manifest of HLS content steering (RFC 8216's successor draft, 7): hosts to play from, best first."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from livestream.model.names import NODE, playlist_path
from livestream.steering.nodes import Node

VERSION = 1

PATHWAY = "."
"""The pathway of variants whose playlist names none (4.4.6.2)."""

MAX_EDGES = 8
"""How many edges a manifest lists: with a thousand, it would be as large as a segment."""

_ID = re.compile(NODE)


def manifest(
    order: Sequence[Node], base: str, stream: str, ttl_s: int, reload: str, variants: Sequence[str] = ()
) -> str:
    """
    The manifest, as JSON, for a player whose multivariant playlist came from the node ``base``.

    ``order`` is the edges for it, best first. The base is the pathway ``.``, since its playlist names none; every other
    node is a clone of it, named by its id, and ``variants`` are the stable ids of its variants. A base that is not
    among the best remains the last choice while it is alive; without any node, the player stays where it is.

    A clone's ``HOST`` is a hostname without a port, as the draft requires: browsers ignore one with a port. A player
    that only replaces the host keeps the port and scheme of the base; the URL of each variant depends on neither.

    ``reload`` is where to ask for the next manifest, after ``ttl_s`` seconds.
    """
    listed: list[Node] = []
    for node in order:
        if (
            (len(listed) < MAX_EDGES or node.id == base)
            and _ID.fullmatch(node.id)
            and node.id != PATHWAY
            and _host(node.http)
        ):
            listed.append(node)
    body: dict[str, Any] = {
        "VERSION": VERSION,
        "TTL": ttl_s,
        "RELOAD-URI": reload,
        "PATHWAY-PRIORITY": [PATHWAY if node.id == base else node.id for node in listed] or [PATHWAY],
    }
    clones = [_clone(node, stream, variants) for node in listed if node.id != base]
    if clones:
        body["PATHWAY-CLONES"] = clones
    return json.dumps(body, separators=(",", ":"))


def _clone(node: Node, stream: str, variants: Sequence[str]) -> dict[str, Any]:
    replacement: dict[str, Any] = {"HOST": _host(node.http)}
    if variants:
        urls = {variant: f"{node.http}{playlist_path(stream, variant)}" for variant in variants}
        replacement["PER-VARIANT-URIS"] = urls
    return {"BASE-ID": PATHWAY, "ID": node.id, "URI-REPLACEMENT": replacement}


def _host(url: str) -> str:
    """The hostname in a node's URL, with brackets if it is an IPv6 address; empty if the URL is invalid."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        return ""
    host = parts.hostname if is_url and parts.hostname else ""
    return f"[{host}]" if ":" in host else host
