"""Every setting: its section, its default and what it is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from livestream.urls import without_password

PRIVATE_NETWORKS = (
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
    *("::1/128", "fc00::/7", "fe80::/10"),
)
"""Loopback, private and link-local addresses (RFC 1122, 1918, 3927, 4193 and 4291)."""


@frozen
class Upstream:
    """A node of the tier above: where it answers HTTP, and where it plays RTMP (may be empty)."""

    http: str
    rtmp: str = ""


def setting(
    default: Any,
    text: str,
    check: str = "",
    *,
    secret: bool = False,
    shown: Callable[[str], str] | None = None,
) -> Any:
    """
    A setting with its default, its description, and the name of the rule that its value must follow.

    The value of a secret is never printed, logged or quoted by an error; ``shown`` makes of it what may be printed.
    """
    metadata = {"help": text, "check": check, "secret": secret, "shown": shown}
    return field(default=default, repr=not secret, metadata=metadata)


@frozen
class Bus:
    """How announcements travel."""

    redis: str = setting(
        "",
        "redis://HOST:PORT/DB or unix:PATH; empty: within this process (role all only)",
        "redis",
        secret=True,
        shown=without_password,
    )


@frozen
class Ingest:
    """Where publishers come in."""

    rtmp: str = setting("tcp:1935:interface=127.0.0.1", "publishers and relays connect here", "endpoint")
    http: str = setting("tcp:8082:interface=127.0.0.1", "origins fetch here", "endpoint")
    keys: dict[str, str] = setting({}, "publishing keys: stream name or pattern = secret", "keys", secret=True)
    grace_s: float = setting(10.0, "how long a publisher may be away", "positive")
    max_publishers: int = setting(1000, "broadcasts at once", "positive")
    proxy_protocol: bool = setting(
        False, "connections of cluster.trusted_proxies to rtmp begin with a header of the PROXY protocol, v1 or v2"
    )


@frozen
class Origin:
    """The cache layer in the middle."""

    http: str = setting("tcp:8083:interface=127.0.0.1", "edges fetch here", "endpoint")
    rtmp: str = setting("tcp:1936:interface=127.0.0.1", "edges play here", "endpoint")
    upstreams: tuple[Upstream, ...] = setting((), "the ingests, in order; in a cluster, after its nodes", "upstreams")


@frozen
class Edge:
    """The cache near the viewers."""

    http: str = setting("tcp:8080", "viewers: HLS, FLV, the watch page", "endpoint")
    rtmp: str = setting("tcp:1937", "viewers: RTMP", "endpoint")
    upstreams: tuple[Upstream, ...] = setting((), "the origins, in order; in a cluster, after its nodes", "upstreams")
    access_log: str = setting("", "a file for the access log; empty: none")
    proxy_protocol: bool = setting(
        False, "connections of cluster.trusted_proxies begin with a header of the PROXY protocol, v1 or v2"
    )


@frozen
class Ops:
    """For those who run this."""

    http: str = setting("tcp:8081:interface=127.0.0.1", "health, metrics, state", "endpoint")
    hosts: tuple[str, ...] = setting((), "names by which it may be asked, beside addresses and localhost", "hosts")
    token: str = setting(
        "", "whoever asks must know it: a bearer token, or the password of HTTP Basic", "token", secret=True
    )


@frozen
class Hls:
    """How broadcasts are cut."""

    segment_s: int = setting(3, "segments are cut at the first key frame after so many seconds", "segment")
    window: int = setting(6, "segments that a playlist lists", "window")


@frozen
class Push:
    """RTMP and FLV viewers."""

    tick_ms: int = setting(64, "what arrived in so many milliseconds goes out at once; 0: each frame", "not negative")
    chunk_bytes: int = setting(4096, "audio and video are interleaved in chunks of this size", "chunk")
    slow_bytes: int = setting(2 << 20, "a slow viewer's backlog", "positive")
    slow_s: float = setting(4.0, "a slow viewer's backlog, in seconds of media", "positive")
    wait_s: float = setting(0.0, "how long a player waits for a broadcast to begin", "not negative")
    linger_s: float = setting(10.0, "how long a stream without viewers is still played from above", "not negative")


@frozen
class Transcode:
    """The ladder."""

    ladder: tuple[int, ...] = setting((1080, 720, 480, 360), "heights of the renditions below the source's", "ladder")
    preset: str = setting("veryfast", "x264's preset", "preset")


@frozen
class Cache:
    """Objects in memory."""

    limit_mb: int = setting(2048, "megabytes of segments at most", "positive")


@frozen
class Limits:
    """What a stranger may ask for."""

    connections: int = setting(20_000, "HTTP connections", "positive")
    connections_per_address: int = setting(
        2000,
        "viewers' HTTP connections from one address (of IPv6, a /64) at once: those of some 700 viewers behind one "
        "translator of addresses, as a campus or a carrier has them; 0: no limit",
        "not negative",
    )
    connects_per_address: int = setting(
        500, "new ones a second, and twice as many at once: all of those viewers within four seconds", "not negative"
    )
    rtmp_connections: int = setting(10_000, "RTMP connections", "positive")
    rtmp_connections_per_address: int = setting(
        200,
        "RTMP connections of publishers and players from one address: a large studio's; 0: no limit",
        "not negative",
    )
    rtmp_connects_per_address: int = setting(
        20, "new ones a second, and twice as many at once: all of that studio within ten seconds", "not negative"
    )
    refused_publishes_per_address: int = setting(
        10,
        "wrong publishing keys from one address in a minute, after which it is refused whatever it tries until the "
        "minute is over: an encoder with a mistyped key that tries every six seconds; 0: no limit",
        "not negative",
    )
    exempt: tuple[str, ...] = setting(
        ("127.0.0.0/8", "::1/128"),
        "networks that have no limit per address; cluster.trusted_proxies never have one",
        "networks",
    )
    relays_from: tuple[str, ...] = setting(
        PRIVATE_NETWORKS,
        "without cluster.secret: networks of nodes that may play as relays; loopback always may; those of an "
        "ingest have no limit per address, with a secret or without",
        "networks",
    )
    header_s: float = setting(10.0, "a request's header must have come by then", "positive")
    stall_s: float = setting(30.0, "a reader who takes nothing for so long is cut", "positive")
    send_buffer_kb: int = setting(128, "the kernel's send buffer of a viewer", "send buffer")
    waiting_players: int = setting(1000, "players who wait for broadcasts to begin (push.wait_s)", "positive")
    unknown_names_per_s: float = setting(
        10.0, "names that the tier above is asked for while this node cannot know what is live", "positive"
    )


@frozen
class Node:
    """This process."""

    id: str = setting("", "its name, which no other node has; empty: its role", "name")
    http: str = setting("", "where others reach its HTTP: http://HOST:PORT", "public url")
    rtmp: str = setting("", "where others reach its RTMP: rtmp://HOST:PORT", "rtmp url")
    region: str = setting("", "where it stands, in a word that near nodes share", "name")
    latitude: float | None = setting(None, "where it stands, in degrees north", "latitude")
    longitude: float | None = setting(None, "where it stands, in degrees east", "longitude")
    capacity_rps: float = setting(200_000.0, "requests per second that it can answer", "capacity")
    capacity_mbps: float = setting(10_000.0, "what its link carries, in megabits per second", "capacity")


@frozen
class Cluster:
    """What the nodes of one cluster share. It is on when there is a secret."""

    secret: str = setting(
        "", "signs what nodes say to each other, and ask; the same on every node", "secret", secret=True
    )
    geo_database: str = setting("", "a file in MaxMind's format, to find where viewers are")
    trusted_proxies: tuple[str, ...] = setting(
        (), "networks whose X-Forwarded-For, or PROXY header, is believed: of proxies alone, not of nodes", "networks"
    )
    drain_s: float = setting(20.0, "how long a node that is told to go may take to finish", "not negative")


SECTIONS: dict[str, type[Any]] = {
    "bus": Bus,
    "ingest": Ingest,
    "origin": Origin,
    "edge": Edge,
    "ops": Ops,
    "hls": Hls,
    "push": Push,
    "transcode": Transcode,
    "cache": Cache,
    "limits": Limits,
    "node": Node,
    "cluster": Cluster,
}
