"""What must hold between settings that are right by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livestream import endpoints

if TYPE_CHECKING:
    from livestream.config import Config


def inconsistencies(config: Config) -> list[str]:
    """What is wrong, a line for each: the settings, and what would be right."""
    lines, role = [], config.role
    if role != "all" and not config.bus.redis:
        lines.append(f'bus.redis: missing, and role {role} needs it; write redis = "redis://127.0.0.1:6379/0"')
    if role in ("origin", "edge") and not config.get(f"{role}.upstreams") and not config.cluster.secret:
        right = '[{http = "http://HOST:PORT", rtmp = "rtmp://HOST:PORT"}]'
        lines.append(f"{role}.upstreams: missing; write upstreams = {right}")
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
                lines.append(f'{section}.proxy_protocol: from whom? write cluster.trusted_proxies = ["10.0.0.1/32"]')
            lines += [
                f"{section}.{key}: a PROXY header comes before TLS, and is not read on ssl:; have the proxy end TLS"
                for key in listeners
                if config.get(f"{section}.{key}").startswith("ssl:")
            ]
    return lines


def _cluster_inconsistencies(config: Config) -> list[str]:
    lines, node = [], config.node
    if (node.latitude is None) != (node.longitude is None):
        lines.append("node.latitude, node.longitude: one without the other; write both, or node.region alone")
    if config.cluster.secret:
        if not config.bus.redis and config.role == "all":
            lines.append('bus.redis: missing, and a cluster needs it; write redis = "redis://127.0.0.1:6379/0"')
        if not node.id:
            lines.append('node.id: missing, and cluster.secret is set; write id = "NAME", another on every node')
        if not node.http:
            lines.append('node.http: missing, and cluster.secret is set; write http = "http://HOST:PORT"')
    return lines
