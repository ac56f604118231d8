"""A node of the cluster as JSON, for operators."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from livestream.cluster.nodes import LastSeen
from livestream.steering.balance import used
from livestream.steering.nodes import NodeState


def iso_time(seconds: float) -> str:
    """A wall clock time in ISO 8601: ``2026-11-30T12:34:56Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock_time(seconds: float) -> str:
    """A wall clock time for people: ``12:34:56 UTC``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S UTC")


def described(last: LastSeen, now: float) -> Mapping[str, Any]:
    """
    A node, with its last heartbeat, as JSON values. ``now`` is the local wall clock.

    ``clock_ahead_s`` is how far the node's clock is ahead of the local one; negative if it is behind.
    """
    heartbeat, age_s = last.heartbeat, last.age_s
    node, load = heartbeat.node, heartbeat.node.load
    return {
        "id": node.id,
        "role": node.role,
        "is_self": False,
        "state": NodeState.CUT_OFF.value if last.is_cut_off else node.state.value,
        "cut_off_since": iso_time(now - age_s) if last.is_cut_off else None,
        "http": node.http,
        "rtmp": node.rtmp,
        "region": node.region,
        "latitude": None if node.location is None else node.location.latitude,
        "longitude": None if node.location is None else node.location.longitude,
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
        "answered_age_s": None if last.answered_age_s is None else round(last.answered_age_s, 3),
        "clock_ahead_s": round(heartbeat.sent_at - (now - age_s), 3),
        "boot": heartbeat.boot,
        "sequence": heartbeat.sequence,
    }
