"""Weighted rendezvous hashing: which node has which key, the same on every node that knows the same nodes."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from math import log

from livestream.steering.nodes import Node, NodeState

RANK = {NodeState.READY: 0, NodeState.DRAINING: 1, NodeState.CUT_OFF: 2}


def ranked(key: str, nodes: Iterable[Node]) -> list[Node]:
    """
    The nodes for a key, the first choice first, without those that are starting.

    Ready nodes come before draining ones, and those that are cut off from the bus come last, among them first those
    that answered their last request.

    Each node scores ``-capacity / ln(h)``, where ``h`` in (0, 1) is a hash of the key and its id, and the highest
    score wins. So each node's share of the keys is proportional to its capacity, a node that joins or leaves moves only
    the keys that it gains or loses, and the second choices of one node's keys are spread over all other nodes (Thaler
    and Ravishankar 1998; Schindelhauer and Schomaker 2005 for the weights).
    """
    candidates = [node for node in nodes if node.state is not NodeState.STARTING]
    return sorted(candidates, key=lambda node: (RANK[node.state], not node.is_answering, -_score(key, node), node.id))


def _score(key: str, node: Node) -> float:
    digest = blake2b(f"{key}\0{node.id}".encode(), digest_size=8).digest()
    draw = ((int.from_bytes(digest) >> 12) + 0.5) / (1 << 52)  # 52 bits, so that the half is not rounded to 0 or 1
    weight = node.capacity_mbps if 0 < node.capacity_mbps < float("inf") else 0.0
    return -weight / log(draw)
