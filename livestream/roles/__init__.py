"""
The architecture, role by role; each reads from top to bottom.

- ``ingest``: publishers in, segments and frames out; ``all_in_one``: the same, and viewers, in one process
- ``origin``, ``edge``: one cache in two configurations
- ``node``: a process as a node: its bus, its place in the cluster
- ``serving``: what roles serve, made from the settings
- ``upstream_tier``: the tier above, asked for states and played from
- ``live_renditions``: what is live elsewhere, as far as a node knows
- ``other_ingests``: who else has a stream
- ``claim_survey``, ``claim_requests``: what an ingest that claims a stream asks other nodes, and what they answer
- ``segment_store``: what an ingest has for others to fetch
"""

from __future__ import annotations

from typing import Any

from livestream.config import Config
from livestream.lifecycle.process import Process
from livestream.roles.all_in_one import build_all_in_one
from livestream.roles.edge import build_edge
from livestream.roles.ingest import build_ingest
from livestream.roles.origin import build_origin

BUILDERS = {"ingest": build_ingest, "origin": build_origin, "edge": build_edge, "all": build_all_in_one}


def build(config: Config, reactor: Any) -> Process:
    """
    One process in its role.

    :raises ConfigError: a file that the configuration names cannot be used.
    """
    return BUILDERS[config.role](config, reactor)
