"""
Every limit that peers can hit, by the name that it is counted as in ``livestream_limits_hit_total{limit}``.

What each is, and its default, is in the table of SECURITY.md.
"""

from __future__ import annotations

CONNECTIONS = (
    "connections",
    "connections_per_address",
    "connects_per_address",
    "rtmp_connections",
    "rtmp_connections_per_address",
    "rtmp_connects_per_address",
    "refused_publishes_per_address",
    "proxy_protocol",
)
HTTP = ("header_time", "header_bytes", "header_count", "target_bytes", "body", "held_bytes", "stall")
OPERATIONS = ("ops_connections", "ops_host", "ops_origin", "ops_token")
RTMP = (
    "rtmp_protocol",
    "deadline",
    "refused",
    "relay",
    "commands",
    "message_rate",
    "publisher_rate",
    "message_bytes",
    "chunk_streams",
    "unfinished_bytes",
    "unasked_bytes",
    "unserved_bytes",
    "silent_player",
)
PUSH = ("viewer_bytes", "feeds", "unknown_names", "waiting_players")
MEDIA = ("picture_size", "transcoder_deaths")

LIMITS = (*CONNECTIONS, *HTTP, *OPERATIONS, *RTMP, *PUSH, *MEDIA)
