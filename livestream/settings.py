"""
Every setting, declared once: a section is a class, and a setting is one of its fields.

Rules that involve several settings are in `livestream.rules`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import NOTHING, field, frozen

from livestream import checks
from livestream.urls import without_password

PRIVATE_NETWORKS = (
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
    *("::1/128", "fc00::/7", "fe80::/10"),
)
"""Loopback, private and link-local addresses (RFC 1122, 1918, 3927, 4193 and 4291)."""


def setting(
    default: Any,
    help: str,
    check: Callable[[Any], None] = checks.anything,
    *,
    secret: bool = False,
    shown: Callable[[str], str] | None = None,
    live: bool = False,
    listens: tuple[str, ...] = (),
) -> Any:
    """
    A setting: its default, its help text, and the check of its value.

    The value of a ``secret`` is never printed, logged or quoted in an error; ``shown`` returns the part that may be
    printed. A ``live`` setting takes effect on a reload, any other after a restart. An endpoint ``listens`` in the
    processes of these roles.

    Its type is ``bool``, ``int``, ``float`` or ``str``; one of these or ``None``, which is then the default;
    ``dict[str, str]``; or a tuple of any number of ``int``, ``str`` or tables, where a table is a class whose fields
    are declared by this function too. A field without a default (``attrs.NOTHING``) is required.
    """
    metadata = {"help": help, "check": check, "secret": secret, "shown": shown, "live": live, "listens": listens}
    return field(default=default, repr=not secret, metadata=metadata)


@frozen
class Upstream:
    """A node of the upstream tier."""

    http: str = setting(NOTHING, "its HTTP address: http://HOST:PORT", checks.http_url)
    rtmp: str = setting("", "its RTMP address: rtmp://HOST:PORT; empty: none", checks.rtmp_url)


@frozen
class Bus:
    """The bus that carries announcements."""

    redis: str = setting(
        "",
        "redis://HOST:PORT/DB or unix:PATH; empty: a bus within this process (role all only)",
        checks.redis_url,
        secret=True,
        shown=without_password,
    )


@frozen
class Ingest:
    """The tier that receives broadcasts."""

    rtmp: str = setting(
        "tcp:1935:interface=127.0.0.1",
        "endpoint for publishers and relays over RTMP",
        checks.endpoint,
        listens=("all", "ingest"),
    )
    http: str = setting(
        "tcp:8082:interface=127.0.0.1", "endpoint for origins over HTTP", checks.endpoint, listens=("ingest",)
    )
    keys: dict[str, str] = setting(
        {},
        "publishing keys: stream name, or pattern such as team-*, = secret",
        checks.publishing_keys,
        secret=True,
        live=True,
    )
    grace_s: float = setting(
        10.0, "seconds that a broadcast waits for a publisher whose connection broke", checks.positive
    )
    end_s: float = setting(
        3.0, "seconds that a broadcast waits for a publisher that has ended it to start it again", checks.not_negative
    )
    slate: str = setting("", "PNG or JPEG that viewers see while the publisher is away; empty: its last key frame")
    max_publishers: int = setting(1000, "maximum number of simultaneous broadcasts", checks.positive, live=True)
    proxy_protocol: bool = setting(
        False,
        "require a PROXY protocol header (v1 or v2) on connections from cluster.trusted_proxies to ingest.rtmp",
        live=True,
    )


@frozen
class Origin:
    """The cache between ingests and edges."""

    http: str = setting(
        "tcp:8083:interface=127.0.0.1", "endpoint for edges over HTTP", checks.endpoint, listens=("origin",)
    )
    rtmp: str = setting(
        "tcp:1936:interface=127.0.0.1", "endpoint for edges over RTMP", checks.endpoint, listens=("origin",)
    )
    upstreams: tuple[Upstream, ...] = setting(
        (), "ingests, tried in order; in a cluster, after those it discovers", live=True
    )


@frozen
class Edge:
    """The cache that serves viewers."""

    http: str = setting(
        "tcp:8080", "endpoint for viewers over HTTP: HLS, FLV, the watch page", checks.endpoint, listens=("all", "edge")
    )
    rtmp: str = setting("tcp:1937", "endpoint for viewers over RTMP", checks.endpoint, listens=("edge",))
    upstreams: tuple[Upstream, ...] = setting(
        (), "origins, tried in order; in a cluster, after those it discovers", live=True
    )
    access_log: str = setting("", "file of the access log; empty: no access log", live=True)
    proxy_protocol: bool = setting(
        False,
        "require a PROXY protocol header (v1 or v2) on connections from cluster.trusted_proxies to edge.http and "
        "edge.rtmp",
        live=True,
    )


@frozen
class Ops:
    """The operations port."""

    http: str = setting(
        "tcp:8081:interface=127.0.0.1",
        "endpoint for operators over HTTP: health, metrics, state",
        checks.endpoint,
        listens=("all", "ingest", "origin", "edge"),
    )
    hosts: tuple[str, ...] = setting(
        (), "host names accepted in requests to ops.http, besides IP addresses and localhost", checks.hosts, live=True
    )
    token: str = setting(
        "",
        "token that requests to ops.http must carry, as a bearer token or as the password of HTTP Basic; empty: none",
        checks.token,
        secret=True,
        live=True,
    )


@frozen
class Hls:
    """Segments and playlists."""

    segment_s: int = setting(
        3,
        "target segment length: a segment ends at the first key frame after this many seconds",
        checks.between(1, 10, " seconds"),
    )
    window: int = setting(
        6, "number of segments in a playlist; the same on every node", checks.between(3, 60, " segments")
    )


@frozen
class Push:
    """The low-latency push to RTMP and FLV viewers."""

    tick_ms: int = setting(
        64, "frames are sent in batches, one every this many milliseconds; 0: each frame at once", checks.not_negative
    )
    chunk_bytes: int = setting(
        4096, "size of the RTMP chunks in which audio and video are interleaved", checks.between(128, 65536, " bytes")
    )
    slow_bytes: int = setting(
        2 << 20,
        "backlog of a slow viewer, in bytes, above which it skips to a later key frame",
        checks.positive,
        live=True,
    )
    slow_s: float = setting(4.0, "the same in seconds of media", checks.positive, live=True)
    wait_s: float = setting(
        0.0,
        "seconds that a player waits for a broadcast to begin; 0: it is refused at once",
        checks.not_negative,
        live=True,
    )
    linger_s: float = setting(
        10.0, "seconds that a stream is still relayed after its last viewer has left", checks.not_negative, live=True
    )


@frozen
class Transcode:
    """Transcoding."""

    ladder: tuple[int, ...] = setting(
        (1080, 720, 480, 360),
        "heights of the renditions to encode; those not below the source's height are left out; empty: no transcoding",
        checks.ladder,
    )
    preset: str = setting("veryfast", "x264 preset", checks.one_of(checks.PRESETS))
    source: str = setting(
        "auto",
        "HLS rendition source: pass it as it comes, encode it in segments of equal length, or auto: encode it if its "
        "key frames do not allow segments within a second of hls.segment_s. Without a ladder it is passed",
        checks.one_of(("auto", "pass", "encode")),
    )


@frozen
class Cache:
    """The cache of segments in memory."""

    limit_mb: int = setting(2048, "maximum size of the cache in megabytes", checks.positive, live=True)


@frozen
class Limits:
    """Limits for untrusted clients."""

    connections: int = setting(20_000, "maximum number of HTTP connections", checks.positive, live=True)
    connections_per_address: int = setting(
        2000,
        "simultaneous HTTP connections of viewers from one IPv4 address or IPv6 /64: enough for some 700 viewers "
        "behind the NAT of a campus or a carrier; 0: no limit",
        checks.not_negative,
        live=True,
    )
    connects_per_address: int = setting(
        500,
        "new HTTP connections per second from one address, with a burst of twice as many; 0: no limit",
        checks.not_negative,
        live=True,
    )
    rtmp_connections: int = setting(10_000, "maximum number of RTMP connections", checks.positive, live=True)
    rtmp_connections_per_address: int = setting(
        200,
        "simultaneous RTMP connections of publishers and players from one address; 0: no limit",
        checks.not_negative,
        live=True,
    )
    rtmp_connects_per_address: int = setting(
        20,
        "new RTMP connections per second from one address, with a burst of twice as many; 0: no limit",
        checks.not_negative,
        live=True,
    )
    refused_publishes_per_address: int = setting(
        10,
        "wrong publishing keys per minute from one address; at the limit, every publish from there is refused until "
        "the minute is over; 0: no limit",
        checks.not_negative,
        live=True,
    )
    exempt: tuple[str, ...] = setting(
        ("127.0.0.0/8", "::1/128"),
        "networks without limits per address; cluster.trusted_proxies have none either",
        checks.networks,
        live=True,
    )
    relays_from: tuple[str, ...] = setting(
        PRIVATE_NETWORKS,
        "networks whose nodes may play as relays where there is no cluster.secret (loopback always may); at an "
        "ingest these networks have no limits per address, with or without a secret",
        checks.networks,
        live=True,
    )
    header_s: float = setting(
        10.0, "seconds within which a request header must be complete", checks.positive, live=True
    )
    stall_s: float = setting(
        30.0, "seconds after which a client that reads nothing is disconnected", checks.positive, live=True
    )
    send_buffer_kb: int = setting(
        128,
        "kernel send buffer of an HTTP viewer in kilobytes; RTMP, FLV and WebSocket viewers have twice as much",
        checks.between(1, 1 << 20, " kilobytes"),
        live=True,
    )
    waiting_players: int = setting(
        1000, "maximum number of players that wait for broadcasts to begin (push.wait_s)", checks.positive, live=True
    )
    waiting_requests: int = setting(
        20_000,
        "maximum number of HTTP requests that wait for the first segment of a broadcast that has begun",
        checks.positive,
        live=True,
    )
    unknown_names_per_s: float = setting(
        10.0,
        "unknown names per second to look up at the upstream tier, while this node cannot know what is live",
        checks.positive,
        live=True,
    )


@frozen
class Node:
    """This process."""

    id: str = setting("", "name of this node, unique in the cluster; empty: its role", checks.name)
    http: str = setting(
        "", "URL at which viewers and other nodes reach it over HTTP: http://HOST:PORT", checks.public_url, live=True
    )
    rtmp: str = setting(
        "", "URL at which viewers and other nodes reach it over RTMP: rtmp://HOST:PORT", checks.rtmp_url, live=True
    )
    region: str = setting("", "name of its region, shared with the nodes nearby", checks.name, live=True)
    latitude: float | None = setting(
        None, "its latitude in degrees north", checks.between(-90, 90, " degrees"), live=True
    )
    longitude: float | None = setting(
        None, "its longitude in degrees east", checks.between(-180, 180, " degrees"), live=True
    )
    capacity_rps: float = setting(
        200_000.0, "its capacity in requests per second", checks.between(0.001, 1e15), live=True
    )
    capacity_mbps: float = setting(
        10_000.0, "its capacity in megabits per second", checks.between(0.001, 1e15), live=True
    )


@frozen
class Cluster:
    """The cluster, which is enabled by its secret."""

    secret: str = setting(
        "",
        "secret that signs messages and requests between nodes, the same on every node; empty: no cluster",
        checks.cluster_secret,
        secret=True,
    )
    geo_database: str = setting(
        "", "database in MaxMind format that locates viewers; empty: edges are chosen by load alone", live=True
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "networks of reverse proxies whose X-Forwarded-For or PROXY header is trusted; never those of nodes",
        checks.networks,
        live=True,
    )
    drain_s: float = setting(20.0, "maximum duration of draining in seconds", checks.not_negative, live=True)
