"""
The architecture, role by role; each reads from top to bottom.

- ``ingest``: publishers in, segments and frames out; also the whole system in one process
- ``peers``: an ingest among others, and ``takes``: what nodes ask each other when one takes a stream
- ``tiers``: origin and edge
- ``known``: what they know of the names that viewers ask for
- ``upstream_tier``: the tier above a node
- ``join_cluster``: how a process becomes a node of its cluster
- ``parts``: what they are put together from
"""

from __future__ import annotations

from typing import Any

from livestream.config import Config
from livestream.roles.ingest import build_ingest
from livestream.roles.parts import Parts
from livestream.roles.tiers import build_edge, build_origin


def build(config: Config, reactor: Any) -> Parts:
    """One process in its role; what runs it are the services of its ``root``."""
    parts = Parts(config, reactor)
    if config.role == "origin":
        build_origin(parts)
    elif config.role == "edge":
        build_edge(parts)
    else:
        build_ingest(parts, is_alone=config.role == "all")
    return parts
