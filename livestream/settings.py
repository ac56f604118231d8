"""
Every setting, declared once: a section is a class, and a setting is one of its fields.

What involves several settings is in `livestream.rules`.
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
    A setting: its default, what it is for, and the check of its value.

    The value of a ``secret`` is never printed, logged or quoted by an error; ``shown`` makes of it what may be printed.
    One that is ``live`` takes effect when the configuration is read again, any other takes a restart. One that is an
    endpoint ``listens`` in the processes of these roles.

    Its type is ``bool``, ``int``, ``float`` or ``str``; one of these or ``None``, which is then the default;
    ``dict[str, str]``; or a tuple of any number of ``int``, ``str`` or a table, which is a class with fields that are
    declared by this function too. A field without a default (``attrs.NOTHING``) has to be given.
    """
    metadata = {"help": help, "check": check, "secret": secret, "shown": shown, "live": live, "listens": listens}
    return field(default=default, repr=not secret, metadata=metadata)


@frozen
class Upstream:
    """A node of the tier above."""

    http: str = setting(NOTHING, "where it answers HTTP: http://HOST:PORT", checks.http_url)
    rtmp: str = setting("", "where it plays RTMP: rtmp://HOST:PORT; empty: nowhere", checks.rtmp_url)


@frozen
class Bus:
    """How announcements travel."""

    redis: str = setting(
        "",
        "redis://HOST:PORT/DB or unix:PATH; empty: within this process (role all only)",
        checks.redis_url,
        secret=True,
        shown=without_password,
    )


@frozen
class Ingest:
    """Where publishers come in."""

    rtmp: str = setting(
        "tcp:1935:interface=127.0.0.1", "publishers and relays connect here", checks.endpoint, listens=("all", "ingest")
    )
    http: str = setting("tcp:8082:interface=127.0.0.1", "origins fetch here", checks.endpoint, listens=("ingest",))
    keys: dict[str, str] = setting(
        {}, "publishing keys: stream name or pattern = secret", checks.publishing_keys, secret=True, live=True
    )
    grace_s: float = setting(10.0, "how long a publisher may be away", checks.positive)
    max_publishers: int = setting(1000, "broadcasts at once", checks.positive, live=True)
    proxy_protocol: bool = setting(
        False,
        "connections of cluster.trusted_proxies to rtmp begin with a header of the PROXY protocol, v1 or v2",
        live=True,
    )


@frozen
class Origin:
    """The cache layer in the middle."""

    http: str = setting("tcp:8083:interface=127.0.0.1", "edges fetch here", checks.endpoint, listens=("origin",))
    rtmp: str = setting("tcp:1936:interface=127.0.0.1", "edges play here", checks.endpoint, listens=("origin",))
    upstreams: tuple[Upstream, ...] = setting((), "the ingests, in order; in a cluster, after its nodes", live=True)


@frozen
class Edge:
    """The cache near the viewers."""

    http: str = setting("tcp:8080", "viewers: HLS, FLV, the watch page", checks.endpoint, listens=("all", "edge"))
    rtmp: str = setting("tcp:1937", "viewers: RTMP", checks.endpoint, listens=("edge",))
    upstreams: tuple[Upstream, ...] = setting((), "the origins, in order; in a cluster, after its nodes", live=True)
    access_log: str = setting("", "a file for the access log; empty: none", live=True)
    proxy_protocol: bool = setting(
        False, "connections of cluster.trusted_proxies begin with a header of the PROXY protocol, v1 or v2", live=True
    )


@frozen
class Ops:
    """For those who run this."""

    http: str = setting(
        "tcp:8081:interface=127.0.0.1",
        "health, metrics, state",
        checks.endpoint,
        listens=("all", "ingest", "origin", "edge"),
    )
    hosts: tuple[str, ...] = setting(
        (), "names by which it may be asked, beside addresses and localhost", checks.hosts, live=True
    )
    token: str = setting(
        "",
        "whoever asks must know it: a bearer token, or the password of HTTP Basic",
        checks.token,
        secret=True,
        live=True,
    )


@frozen
class Hls:
    """How broadcasts are cut."""

    segment_s: int = setting(
        3, "segments are cut at the first key frame after so many seconds", checks.between(1, 10, " seconds")
    )
    window: int = setting(6, "segments that a playlist lists", checks.between(3, 60, " segments"))


@frozen
class Push:
    """RTMP and FLV viewers."""

    tick_ms: int = setting(
        64, "what arrived in so many milliseconds goes out at once; 0: each frame", checks.not_negative
    )
    chunk_bytes: int = setting(
        4096, "audio and video are interleaved in chunks of this size", checks.between(128, 65536, " bytes")
    )
    slow_bytes: int = setting(2 << 20, "a slow viewer's backlog", checks.positive, live=True)
    slow_s: float = setting(4.0, "a slow viewer's backlog, in seconds of media", checks.positive, live=True)
    wait_s: float = setting(0.0, "how long a player waits for a broadcast to begin", checks.not_negative, live=True)
    linger_s: float = setting(
        10.0, "how long a stream without viewers is still played from above", checks.not_negative, live=True
    )


@frozen
class Transcode:
    """The ladder."""

    ladder: tuple[int, ...] = setting(
        (1080, 720, 480, 360), "heights of the renditions below the source's", checks.ladder
    )
    preset: str = setting("veryfast", "x264's preset", checks.one_of(checks.PRESETS))


@frozen
class Cache:
    """Objects in memory."""

    limit_mb: int = setting(2048, "megabytes of segments at most", checks.positive, live=True)


@frozen
class Limits:
    """What a stranger may ask for."""

    connections: int = setting(20_000, "HTTP connections", checks.positive, live=True)
    connections_per_address: int = setting(
        2000,
        "viewers' HTTP connections from one address (of IPv6, a /64) at once: those of some 700 viewers behind one "
        "translator of addresses, as a campus or a carrier has them; 0: no limit",
        checks.not_negative,
        live=True,
    )
    connects_per_address: int = setting(
        500,
        "new ones a second, and twice as many at once: all of those viewers within four seconds",
        checks.not_negative,
        live=True,
    )
    rtmp_connections: int = setting(10_000, "RTMP connections", checks.positive, live=True)
    rtmp_connections_per_address: int = setting(
        200,
        "RTMP connections of publishers and players from one address: a large studio's; 0: no limit",
        checks.not_negative,
        live=True,
    )
    rtmp_connects_per_address: int = setting(
        20,
        "new ones a second, and twice as many at once: all of that studio within ten seconds",
        checks.not_negative,
        live=True,
    )
    refused_publishes_per_address: int = setting(
        10,
        "wrong publishing keys from one address in a minute, after which it is refused whatever it tries until the "
        "minute is over: an encoder with a mistyped key that tries every six seconds; 0: no limit",
        checks.not_negative,
        live=True,
    )
    exempt: tuple[str, ...] = setting(
        ("127.0.0.0/8", "::1/128"),
        "networks that have no limit per address; cluster.trusted_proxies never have one",
        checks.networks,
        live=True,
    )
    relays_from: tuple[str, ...] = setting(
        PRIVATE_NETWORKS,
        "without cluster.secret: networks of nodes that may play as relays; loopback always may; those of an "
        "ingest have no limit per address, with a secret or without",
        checks.networks,
        live=True,
    )
    header_s: float = setting(10.0, "a request's header must have come by then", checks.positive, live=True)
    stall_s: float = setting(30.0, "a reader who takes nothing for so long is cut", checks.positive, live=True)
    send_buffer_kb: int = setting(
        128,
        "the kernel's send buffer of a viewer over HTTP; one of the push (RTMP, FLV, WebSocket) has twice as much",
        checks.between(1, 1 << 20, " kilobytes"),
        live=True,
    )
    waiting_players: int = setting(
        1000, "players who wait for broadcasts to begin (push.wait_s)", checks.positive, live=True
    )
    unknown_names_per_s: float = setting(
        10.0,
        "names that the tier above is asked for while this node cannot know what is live",
        checks.positive,
        live=True,
    )


@frozen
class Node:
    """This process."""

    id: str = setting("", "its name, which no other node has; empty: its role", checks.name)
    http: str = setting("", "where others reach its HTTP: http://HOST:PORT", checks.public_url, live=True)
    rtmp: str = setting("", "where others reach its RTMP: rtmp://HOST:PORT", checks.rtmp_url, live=True)
    region: str = setting("", "where it stands, in a word that near nodes share", checks.name, live=True)
    latitude: float | None = setting(
        None, "where it stands, in degrees north", checks.between(-90, 90, " degrees"), live=True
    )
    longitude: float | None = setting(
        None, "where it stands, in degrees east", checks.between(-180, 180, " degrees"), live=True
    )
    capacity_rps: float = setting(
        200_000.0, "requests per second that it can answer", checks.between(0.001, 1e15), live=True
    )
    capacity_mbps: float = setting(
        10_000.0, "what its link carries, in megabits per second", checks.between(0.001, 1e15), live=True
    )


@frozen
class Cluster:
    """What the nodes of one cluster share. It is on when there is a secret."""

    secret: str = setting(
        "", "signs what nodes say to each other, and ask; the same on every node", checks.cluster_secret, secret=True
    )
    geo_database: str = setting("", "a file in MaxMind's format, to find where viewers are", live=True)
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "networks whose X-Forwarded-For, or PROXY header, is believed: of proxies alone, not of nodes",
        checks.networks,
        live=True,
    )
    drain_s: float = setting(
        20.0, "how long a node that is told to go may take to finish", checks.not_negative, live=True
    )
