"""What is known of a node, for those who look at the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livestream.cluster.messages import Heartbeat
from livestream.steering.balance import used


def described(heartbeat: Heartbeat, age_s: float, now: float) -> Mapping[str, Any]:
    """
    A node as what becomes JSON, with what it said ``age_s`` seconds before ``now``, our wall clock.

    ``clock_ahead_s`` is by how much its clock is ahead of ours, or behind if it is negative.
    """
    node, load = heartbeat.node, heartbeat.node.load
    return {
        "id": node.id,
        "role": node.role,
        "is_self": False,
        "state": node.state.value,
        "http": node.http,
        "rtmp": node.rtmp,
        "region": node.region,
        "latitude": None if node.place is None else node.place.latitude,
        "longitude": None if node.place is None else node.place.longitude,
        "capacity_rps": node.capacity_rps,
        "capacity_mbps": node.capacity_mbps,
        "utilisation": round(used(node), 4),
        "connections": load.connections,
        "requests_per_s": round(load.requests_per_s, 2),
        "bits_per_s": round(load.bits_per_s),
        "delay_ms": round(load.delay_ms, 2),
        "viewers": dict(load.viewers),
        "streams": dict(heartbeat.streams),
        "stream_count": heartbeat.stream_count,
        "age_s": round(age_s, 3),
        "clock_ahead_s": round(heartbeat.sent_at - (now - age_s), 3),
        "boot": heartbeat.boot,
        "sequence": heartbeat.sequence,
    }
