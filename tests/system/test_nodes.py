"""Nodes of a cluster tell each other that they are there, and the page of the cluster shows it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.cluster import Cluster, ClusterNode
from tests.system.conftest import Site
from tests.system.processes import Process, until
from tests.system.test_watch_page import CHROMIUM

ABOVE = 'edge.upstreams=[{http="http://127.0.0.1:9"}]'
"""An edge is ready once it has somebody to ask; nothing is asked here."""


def _seen(node: ClusterNode) -> dict[str, Any]:
    answer: Any = node.daemon.json("/api/v1/nodes")
    return {each["id"]: each for each in answer["nodes"]}


def test_nodes_know_each_other_until_they_leave_and_while_redis_is_away(site: Site) -> None:
    cluster = Cluster(site, ("edge-1", "edge-2", "ingest-1"), ("node.region=lab", "cluster.drain_s=0", ABOVE))
    here, _, leaving = cluster.nodes.values()
    until(lambda: len(_seen(here)) == 3, "three nodes", 10)
    assert _seen(here)["ingest-1"]["http"] == leaving.http
    assert {each["region"] for each in _seen(here).values()} == {"lab"}
    leaving.daemon.kill(signal.SIGTERM)
    until(lambda: "ingest-1" not in _seen(here), "the one that left is gone", 2)
    cluster.redis.kill()
    until(lambda: _seen(here)["edge-2"]["age_s"] > 4, "silence", 10)
    assert here.daemon.metric("livestream_nodes", role="edge") == 2


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="no Chromium: apt-get install chromium")
def test_the_page_of_the_cluster_shows_who_is_there_and_who_is_cut_off(site: Site) -> None:
    cluster = Cluster(site, ("edge-1", "edge-2"), ("node.latitude=52.5", "node.longitude=13.4", ABOVE))
    url = f"http://127.0.0.1:{cluster.nodes['edge-1'].daemon.ops}/cluster"
    script = Path(__file__).parent / "browser.py"
    arguments = [sys.executable, str(script), "cluster", url, str(site.folder / "page.png"), "edge-2"]
    looker = Process(arguments, site.folder / "browser.log", {"CHROMIUM": CHROMIUM or "/usr/bin/chromium"})
    site.run(looker)
    until(lambda: "shown" in looker.words(), "both nodes on the page", 30)
    cluster.nodes["edge-2"].daemon.kill()
    assert looker.wait(30) == 0, looker.words()
    assert "1 edge · 1 cut off" in looker.words()
