"""Rules that involve several settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livestream import endpoints

if TYPE_CHECKING:
    from livestream.config import Config


def inconsistencies(config: Config) -> list[str]:
    """One line for each violated rule: the settings, and what to write."""
    lines, role = [], config.role
    if role != "all" and not config.bus.redis:
        lines.append(f'bus.redis: required by role {role}; write redis = "redis://127.0.0.1:6379/0"')
    if role in ("origin", "edge") and not config.get(f"{role}.upstreams") and not config.cluster.secret:
        right = '[{http = "http://HOST:PORT", rtmp = "rtmp://HOST:PORT"}]'
        lines.append(f"{role}.upstreams: required without cluster.secret; write upstreams = {right}")
    if role in ("all", "ingest") and not config.ingest.keys and not endpoints.parse(config.ingest.rtmp).is_loopback:
        lines.append(
            'ingest.rtmp: anyone who reaches this port could publish; write [ingest.keys] with "*" = "A-SECRET", '
            "or listen on tcp:1935:interface=127.0.0.1"
        )
    return lines + _proxy_inconsistencies(config) + _cluster_inconsistencies(config)


def _proxy_inconsistencies(config: Config) -> list[str]:
    lines = []
    for section in ("edge", "ingest"):
        listeners = {"edge": ("http", "rtmp"), "ingest": ("rtmp",)}[section]
        if config.get(f"{section}.proxy_protocol") and config.role in ("all", section):
            if not config.cluster.trusted_proxies:
                right = 'cluster.trusted_proxies = ["10.0.0.1/32"]'
                lines.append(f"{section}.proxy_protocol: requires trusted proxies; write {right}")
            lines += [
                f"{section}.{key}: the PROXY protocol is not supported on ssl: endpoints; terminate TLS at the proxy"
                for key in listeners
                if config.get(f"{section}.{key}").startswith("ssl:")
            ]
    return lines


def _cluster_inconsistencies(config: Config) -> list[str]:
    lines, node = [], config.node
    if (node.latitude is None) != (node.longitude is None):
        lines.append("node.latitude, node.longitude: one is set without the other; set both, or node.region alone")
    if config.cluster.secret:
        if not config.bus.redis and config.role == "all":
            lines.append('bus.redis: required by cluster.secret; write redis = "redis://127.0.0.1:6379/0"')
        if not node.id:
            lines.append('node.id: required by cluster.secret; write id = "NAME", unique on every node')
        if not node.http:
            lines.append('node.http: required by cluster.secret; write http = "http://HOST:PORT"')
    return lines
