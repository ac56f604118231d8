"""Which node has which key, the same on every node that knows the same nodes: weighted rendezvous hashing."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from math import log

from livestream.steering.nodes import Node, NodeState

RANK = {NodeState.READY: 0, NodeState.DRAINING: 1, NodeState.CUT_OFF: 2}


def ranked(key: str, nodes: Iterable[Node]) -> list[Node]:
    """
    The nodes for a key, the first choice first, and none that starts.

    Those that are ready come before those that drain, and last are those that are cut off from the bus: first those
    that answered when they were asked last.

    Each node scores ``-capacity / ln(h)``, where ``h`` in (0, 1) is a hash of the key and its id, and the highest
    score wins. So each has a share of the keys that is as large as its link, a node that comes or goes moves only what
    it gains or loses, and the second choices of one node's keys are spread over all others (Thaler and Ravishankar
    1998; Schindelhauer and Schomaker 2005 for the weights).
    """
    there = [node for node in nodes if node.state is not NodeState.STARTING]
    return sorted(there, key=lambda node: (RANK[node.state], not node.is_answering, -_score(key, node), node.id))


def _score(key: str, node: Node) -> float:
    digest = blake2b(f"{key}\0{node.id}".encode(), digest_size=8).digest()
    draw = ((int.from_bytes(digest) >> 12) + 0.5) / (1 << 52)  # 52 bits, so that the half is not rounded to 0 or 1
    weight = node.capacity_mbps if 0 < node.capacity_mbps < float("inf") else 0.0
    return -weight / log(draw)
