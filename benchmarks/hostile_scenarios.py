"""What hostile peers do, by name; `hostile_peer.py` runs each, and `hostile.py` measures what it costs."""

from __future__ import annotations

import math
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from attrs import frozen
from hostile_bytes import (
    AGGREGATE,
    AUDIO,
    COMMAND,
    DATA,
    NUMBER,
    PLAYING,
    PUBLISHING,
    USER_CONTROL,
    VIDEO,
    alternating,
    command,
    connected,
    get,
    header,
    message,
    numbered,
    pause,
    ping,
    player,
    publisher,
    set_chunk_size,
    unfinished,
)
from hostile_nodes import KEY, MIB, PLAYLIST, STREAM, Address, Nodes
from hostile_peer import Attack
from rtmp_peers import ffmpeg

from tests.system.processes import get as fetch

HOSTILE = "hostile" + NUMBER.decode()
GONE = "gone" + NUMBER.decode()
HELD_BYTES = 9 * MIB - (64 << 10)
"""Of unfinished messages: not quite a message of the largest length and a MiB."""
TOO_LONG = "a" * 64
LEAST_BUFFER_BYTES = 4096
TRIES = 60
FRAMES, FRAME_MS = 270, 33
BODY_PIECES = 400
SEGMENTS = "livestream_segments_total"
Meanwhile = Callable[[Nodes, float], str]


@frozen
class Scenario:
    """
    One row of the table: ``attack`` is made for the nodes that run, and the seconds that it is to last.

    ``sets`` are settings that it needs. ``meanwhile`` runs beside it for as long, and returns a remark.
    """

    name: str
    attack: Callable[[Nodes, float], Attack]
    seconds: float = 10
    is_cluster: bool = False
    sets: Sequence[str] = ()
    meanwhile: Meanwhile | None = None


def _rtmp(
    name: str, opening: bytes, awaited: bytes = b"", body: Callable[[], bytes] = bytes, **more: object
) -> Scenario:
    """RTMP connections that stay, and send what ``body`` makes once what is awaited has come."""

    def attack(nodes: Nodes, seconds: float) -> Attack:
        fields = {"opening": opening, "awaited": awaited, "body": body(), **more}
        return Attack(*nodes.rtmp, seconds, **fields)  # type: ignore[arg-type]

    return Scenario(name, attack)


# Memory


def _unfinished() -> Iterator[Scenario]:
    plays, two = player(STREAM), (4, 6)
    forms = {
        "1-player": (VIDEO, two, 2),
        "chunks-of-1": (VIDEO, two, 1),
        "64-chunk-streams": (VIDEO, range(4, 66), 2),
        "csid-2-bytes": (VIDEO, (100, 200), 2),
        "csid-3-bytes": (VIDEO, (1000, 2000), 2),
        "audio": (AUDIO, two, 2),
        "aggregate": (AGGREGATE, two, 2),
        "data": (DATA, two, 2),
        "command": (COMMAND, two, 2),
    }
    for name, form in forms.items():
        yield _rtmp(f"unfinished/{name}", plays, PLAYING, partial(unfinished, *form, HELD_BYTES))
    body = partial(unfinished, *forms["1-player"], HELD_BYTES)
    yield _rtmp("unfinished/4-players", plays, PLAYING, body, connections=4)
    yield _rtmp("unfinished/without-play", connected(), b"_result", body)


# Processor time


def _floods() -> Iterator[Scenario]:
    """Of two connections each, as players and as publishers."""
    pace = 15e6 / 8
    empty = b"".join(header(type_id, 0, 4) for type_id in (AUDIO, VIDEO, DATA, USER_CONTROL, 3))
    tiny = message(VIDEO, b"\x17", 6) + message(AUDIO, b"\xaf", 4)
    large = message(VIDEO, b"\x27\x01" + bytes(60_000), 6, 1)
    for role, opening, awaited in (("player", player(STREAM), PLAYING), ("publisher", publisher(HOSTILE), PUBLISHING)):
        floods = {
            "empty/12-bytes": (empty * 4000, pace),
            "empty/1-byte-audio": (header(AUDIO, 0, 4) + b"\xc4" * MIB, pace),
            "empty/1-byte-control": (header(USER_CONTROL, 0, 4) + b"\xc4" * MIB, pace),
            "one-byte-chunks/video": (large * 8, math.inf),
            "tiny-messages/1-byte": (tiny * 4000, math.inf),
            "pings/ping": (ping() * 4000, math.inf),
            "commands/unknown": (command("nothing", 0, None) * 2000, math.inf),
        }
        for name, (body, bytes_per_s) in floods.items():
            more = {"connections": 2, "times": 0, "bytes_per_s": bytes_per_s}
            asks = opening + set_chunk_size(1) if name.startswith("one-byte-chunks") else opening
            yield _rtmp(f"{name}-{role}", asks, awaited, partial(bytes, body), **more)


# Names that nobody publishes


def _unknown() -> Iterator[Scenario]:
    flv, answer = get(f"/live/{GONE}.flv"), b"\r\n\r\n"
    upgrade = ("Host: hostile", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    socket_flv = get(f"/live/{GONE}.flv", *upgrade, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
    hls = numbered(get(f"/live/{GONE}/source/index.m3u8"), 50_000)

    def alone(opening: bytes, per_s: float, awaited: bytes = answer, is_rtmp: bool = False) -> Callable[..., Attack]:
        """A connection for each request, closed when it has been answered."""

        def attack(nodes: Nodes, seconds: float) -> Attack:
            host, port = nodes.rtmp if is_rtmp else nodes.http
            return Attack(host, port, seconds, 4000, per_s, opening, awaited, leaves=True, returns=True)

        return attack

    def pipelined(nodes: Nodes, seconds: float) -> Attack:
        per_s = 20_000 * len(hls) / 50_000
        return Attack(*nodes.http, seconds, 50, body=hls, times=0, bytes_per_s=per_s, piece_bytes=2048)

    yield Scenario("unknown-flv/100", alone(flv, 100), 20, is_cluster=True)
    yield Scenario("unknown-flv/4096", alone(flv, 4096), 20, is_cluster=True)
    yield Scenario("unknown-hls/20000", pipelined, 20, is_cluster=True)
    yield Scenario("unknown-ws/500", alone(socket_flv, 500), 20, is_cluster=True)
    yield Scenario("unknown-rtmp/200", alone(player(GONE), 200, b"NetStream.", True), 20, is_cluster=True)


# Connections that are held


def _held() -> Iterator[Scenario]:
    drip = {"times": 1, "piece_bytes": 1, "connects_per_s": 2000, "connections": 5000, "bytes_per_s": 5000}

    def heads(nodes: Nodes, seconds: float) -> Attack:
        opening, body = b"GET / HTTP/1.1\r\n", b"A: b\r\n" * 50
        return Attack(*nodes.http, seconds, opening=opening, body=body, **drip)  # type: ignore[arg-type]

    def handshakes(nodes: Nodes, seconds: float) -> Attack:
        return Attack(*nodes.rtmp, seconds, opening=b"\x03", body=bytes(1536), **drip)  # type: ignore[arg-type]

    def http(nodes: Nodes, seconds: float) -> Attack:
        text = fetch(f"http://{nodes.http[0]}:{nodes.http[1]}{PLAYLIST}")[2].decode()
        segment = PLAYLIST.replace("index.m3u8", re.findall(r"^\S+\.m4s$", text, re.MULTILINE)[-1])
        asks = get(segment) * 20
        return Attack(*nodes.http, seconds, 1000, 500, asks, reads=False, receive_buffer_bytes=LEAST_BUFFER_BYTES)

    yield Scenario(
        "rtmp-connects/30",
        lambda nodes, seconds: Attack(*nodes.ingest, seconds, 3000, 30, player(STREAM)),
        20,
        sets=("limits.rtmp_connections=300",),
        meanwhile=_broadcasters,
    )
    yield _rtmp("paused/100", player(STREAM), PLAYING, pause, connections=100, reads=False)
    yield Scenario("slow-heads/5000", heads, 20)
    yield Scenario("slow-handshakes/5000", handshakes, 15)
    yield Scenario("never-read/http-1000", http, 20)
    yield _rtmp("never-read/rtmp-1000", player(STREAM), connections=1000, connects_per_s=500, reads=False,
                receive_buffer_bytes=LEAST_BUFFER_BYTES)  # fmt: skip


def _broadcasters(nodes: Nodes, seconds: float) -> str:
    """Another address wants to publish, again and again, each time another stream."""
    entered = sum(_is_let_in(nodes.ingest, f"honest{number}", seconds / TRIES) for number in range(TRIES))
    return f"{entered} of {TRIES} broadcasters at 127.0.0.1 let in"


def _is_let_in(address: Address, name: str, seconds: float) -> bool:
    deadline_s, heard = time.monotonic() + seconds, b""
    try:
        with socket.create_connection(address, seconds) as sock:
            sock.settimeout(seconds)
            sock.sendall(publisher(name))
            while PUBLISHING not in heard and (data := sock.recv(65536)):
                heard += data
    except OSError:
        pass
    time.sleep(max(deadline_s - time.monotonic(), 0))
    return PUBLISHING in heard


# The operations port


def _operations() -> Iterator[Scenario]:
    post = f"POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {BODY_PIECES * MIB}\r\n\r\n".encode()

    def body(nodes: Nodes, seconds: float) -> Attack:
        return Attack(*nodes.ops, seconds, opening=post, body=bytes(MIB), times=BODY_PIECES)

    def heads(nodes: Nodes, seconds: float) -> Attack:
        drip = {"body": b"A: b\r\n" * 50, "bytes_per_s": 200, "piece_bytes": 1}
        return Attack(*nodes.ops, seconds, 200, opening=b"GET / HTTP/1.1\r\n", **drip)  # type: ignore[arg-type]

    yield Scenario("ops-body/400-MiB", body, meanwhile=_spool)
    yield Scenario("ops-body/slow-heads", heads, 20, meanwhile=_hosts)


def _spool(nodes: Nodes, seconds: float) -> str:
    """Watch the temporary files."""
    (node,) = nodes.nodes.values()
    before, most, end_s = node.spooled_bytes(), 0, time.monotonic() + seconds
    while time.monotonic() < end_s:
        most = max(most, node.spooled_bytes())
        time.sleep(0.05)
    return f"temporary files {before / MIB:.0f} MiB before, {most / MIB:.0f} at most"


def _hosts(nodes: Nodes, seconds: float) -> str:
    """Ask the operations port with various Host fields."""
    port = nodes.ops[1]
    fields = {
        "own Host": (f"Host: 127.0.0.1:{port}",),
        "foreign Host": ("Host: example.com",),
        "two Hosts": (f"Host: 127.0.0.1:{port}", "Host: example.com"),
        "no Host": (),
    }
    said = [f"{name}: {_status(nodes.ops, _bare('/api/v1/streams', *lines))}" for name, lines in fields.items()]
    return ", ".join(said)


def _bare(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", *fields, "Connection: close", "", ""]).encode()


def _status(address: Address, request: bytes) -> str:
    try:
        with socket.create_connection(address, 5) as sock:
            sock.sendall(request)
            return sock.makefile("rb").readline().decode()[9:12] or "closed"
    except OSError as error:
        return type(error).__name__


# Other requests


def _requests() -> Iterator[Scenario]:
    for name, host in (("empty-label", "a..b"), ("long-label", f"{TOO_LONG}.example")):
        requests = get("/watch/nothing", f"Host: {host}") * 2000

        def pipelined(nodes: Nodes, seconds: float, requests: bytes = requests) -> Attack:
            return Attack(*nodes.http, seconds, 1, 2000, body=requests, times=0, returns=True)

        yield Scenario(f"bad-host/{name}", pipelined)

    def keys(nodes: Nodes, seconds: float) -> Attack:
        asks = publisher(f"{HOSTILE}?key=wrong{NUMBER.decode()}")
        ends = {"awaited": b"NetStream.Publish", "leaves": True, "returns": True}
        return Attack(*nodes.ingest, seconds, 16, opening=asks, **ends)  # type: ignore[arg-type]

    yield Scenario("keys/16", keys, sets=(f'ingest.keys={{"*" = "{KEY}"}}',))
    yield Scenario("configurations/each-frame", _configurations, meanwhile=_playlist)


def _configurations(nodes: Nodes, seconds: float) -> Attack:
    """A broadcast of nine seconds, in real time."""
    folder = nodes.nodes["all"].spool.parent
    paths = [_film(folder / f"film-{size}.flv", size) for size in ("320x180", "640x360")]
    body = alternating(paths, FRAMES, FRAME_MS)
    pace = len(body) / (FRAMES * FRAME_MS / 1000)
    sent = {"opening": publisher("hostile"), "awaited": PUBLISHING, "body": body, "bytes_per_s": pace}
    return Attack(*nodes.ingest, seconds, **sent, piece_bytes=2048)  # type: ignore[arg-type]


def _film(path: Path, size: str) -> Path:
    """A second of key frames, and nothing else."""
    video = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=30", "-t", "1", "-c:v", "libx264", "-preset", "ultrafast"]
    video += ["-g", "1", "-b:v", "400k", "-pix_fmt", "yuv420p"]
    subprocess.run([ffmpeg(), "-loglevel", "error", "-nostdin", "-y", *video, str(path)], check=True)
    return path


def _playlist(nodes: Nodes, seconds: float) -> str:
    """Look at the media playlist of the stream `hostile` while it grows."""
    (node,) = nodes.nodes.values()
    before, end_s = sum(node.counts(SEGMENTS).values()), time.monotonic() + seconds
    most_bytes = most_listed = 0
    while time.monotonic() < end_s:
        status, _, body = fetch(f"http://{nodes.http[0]}:{nodes.http[1]}{PLAYLIST.replace(STREAM, 'hostile', 1)}")
        if status == 200:
            most_bytes, most_listed = max(most_bytes, len(body)), max(most_listed, body.count(b"#EXTINF"))
        time.sleep(0.1)
    cut = sum(node.counts(SEGMENTS).values()) - before
    return f"{cut:.0f} segments cut, {most_listed} listed in {most_bytes} bytes at most"


SCENARIOS = [*_unfinished(), *_floods(), *_unknown(), *_held(), *_operations(), *_requests()]
