"""
Seed inputs of each corpus: what real encoders, players, nodes and operators send.

``python -m tests.fuzz.seeds`` writes the missing ones to ``corpus``.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha1
from pathlib import Path

from livestream.bus import announcements as wire
from livestream.config import load
from livestream.media.flv import AUDIO, VIDEO, avc_frame
from livestream.model.frames import Codec, Frame
from livestream.net.proxy_protocol import V2
from livestream.push.framing import CLOCK
from livestream.rtmp.amf0 import EcmaArray, encode
from livestream.rtmp.chunks import Message, split
from livestream.rtmp.messages import control, set_chunk_size, user_control
from livestream.signing import sign
from livestream.transcode import commands
from livestream.transcode.ladder import Rung
from tests.fuzz.config_targets import SEPARATOR
from tests.fuzz.http_targets import NOW, SECRET
from tests.fuzz.media_targets import RECORDS
from tests.fuzz.recordings import recorded
from tests.fuzz.rtmp_targets import HANDSHAKE
from tests.fuzz.targets import CORPUS
from tests.hls.windows import window_of
from tests.http.test_desync import SHAPES
from tests.media.encoded import Tag, broadcast, tags
from tests.ops.test_site import TOKEN
from tests.rtmp.test_chunk_ways import Writer
from tests.test_schema import KINDS, kept

LONGEST_SEED_BYTES = 4096
ETC = Path(__file__).parents[2] / "etc"
ENCODERS = (("libx264", "aac"), ("libx265", None), ("libsvtav1", None), ("libvpx-vp9", "libopus"))
METADATA = EcmaArray(duration=0.0, width=160.0, encoder="Lavf", stereo=True, list=[1.0, None])


def _tags() -> list[Tag]:
    """Tags of every codec, legacy and Enhanced RTMP."""
    return [
        tag
        for video, audio in ENCODERS
        for tag in tags(broadcast(video, audio, seconds=0.2, size=(32, 32)))
        if len(tag.body) <= LONGEST_SEED_BYTES
    ]


def _handshakes() -> Iterator[bytes]:
    for end in (b"\x00", b"\x01"):
        yield end + b"\x02\x0c\x00" + b"\x03rest"
        yield end + b"\x01\x06\x00" + b"\x03"
        yield end + b"\x03\x00\x00" + b"\x16\x03\x01"
        yield end + b"\x03\x00\x00" + b"GET / HTTP/1.1\r\n"
    yield b"\x01\x02\x0f\xff" + HANDSHAKE[:200]


_SIZES_AND_KINDS = ((10, 0), (10, 3), (10, 2), (300, 1), (300, 3), (7, 1))


def _chunk_streams() -> Iterator[bytes]:
    picture, sound = Message(9, 1, 0x1234567, b"picture" * 60), Message(8, 1, 40, b"sound")
    one, two = split(picture, 6, 128), split(sound, 4, 128)
    yield b"\x02\x01\x00\x80" + one[0] + two[0] + b"".join(one[1:])
    yield b"\x01\x00\x00\x01" + b"".join(split(sound, 4, 1))
    yield b"\x03\x02\x00\x80" + b"".join(split(set_chunk_size(200), 2, 128)) + b"".join(split(picture, 6, 200))
    yield b"\x02\x01\x00\x80" + one[0] + b"".join(split(Message(2, 0, 0, b"\x00\x00\x00\x06"), 2, 128)) + b"".join(one)
    yield b"\x02\x01\x00\x80" + bytes.fromhex("42000000000006040006 00000001")
    yield b"\x02\x01\x00\x80" + bytes.fromhex("04000064000001080100000061 4400001400000108 62 c4 63")
    yield b"\x02\x01\x00\x80" + bytes.fromhex("010a0000000000030801000000616263 000a00000a0000030801000000616263")
    for number, delta_ms in enumerate((40, 0xFFFFFF, 0xFFFFFFF0)):
        writer = Writer(128)
        video = [writer.chunks(6, 9, delta_ms, bytes([number]) * size, kind) for size, kind in _SIZES_AND_KINDS]
        audio = [writer.chunks(4, 8, delta_ms, bytes([number]) * size, kind) for size, kind in _SIZES_AND_KINDS]
        cut = [chunk for pair in zip(video, audio, strict=True) for chunks in pair for chunk in chunks]
        yield bytes([number, 2 * number, 0, 0x80]) + b"".join(cut)
        yield bytes([number + 3, 2 * number, 0, 0x80]) + b"".join(sorted(cut, key=lambda chunk: bytes(chunk)[0] >> 6))
    writer = Writer(128)
    wraps = [writer.chunks(6, 9, time, b"picture", kind) for time, kind in ((0xFFFFFFF0, 0), (1, 1), (40, 1), (40, 3))]
    yield b"\x02\x00\x00\x80" + b"".join(chunk for chunks in wraps for chunk in chunks)
    first, second = split(Message(9, 1, 0x1234567, bytes(129)), 6, 128)
    yield b"\x02\x00\x00\x80" + first + second[:1] + second[5:]  # the extended timestamp is not repeated
    for sent in recorded().values():
        yield b"\x05\x00\x00\x80" + sent[: LONGEST_SEED_BYTES // 2]


def _amf0_values() -> Iterator[bytes]:
    yield encode("connect", 1, {"app": "live", "tcUrl": "rtmp://h/live", "fourCcList": ["avc1", "hvc1"]})
    yield encode("onMetaData", METADATA)
    yield encode("publish", 3, None, "show?key=secret", "live", True, False)
    yield b"\x0c\x00\x00\x00\x04long\x0b" + bytes(10) + b"\x06\x0d\x10\x00\x01t\x00\x01k\x05\x00\x00\x09"
    yield b"\x03\x00\x01k\x0a\x00\x00\x00\x02\x05\x00" + b"\x7f\xf8" + bytes(6) + b"\x00\x00\x09"


def _commands(*calls: tuple[object, ...]) -> bytes:
    return b"".join(chunk for call in calls for chunk in split(Message(20, 1, 0, encode(*call)), 3, 128))


def _server_sessions() -> Iterator[bytes]:
    for name, sent in recorded().items():
        if name in ("publisher", "player"):
            yield b"\x00\x05\x00" + sent[:LONGEST_SEED_BYTES]
    aggregate = b"\x09" + b"\x00\x00\x02" + bytes(7) + b"\x17\x01" + b"\x00\x00\x00\x0d"
    for number, sent in enumerate(
        [
            _commands(("publish", 4, None, "other?a=b"), ("FCUnpublish", 5, None, "x"), ("deleteStream", 6, None, 1)),
            _commands(("pause", 0, None, True, 0), ("seek", 0, None, 100), ("pauseRaw", 0, None, False, 0)),
            _commands(("getStreamLength", 7, None, "s"), ("_checkbw", 8), ("fly", 9), ("releaseStream", 1, None, "s")),
            b"".join(split(Message(22, 1, 40, aggregate), 4, 128)),
            b"".join(split(Message(18, 1, 0, encode("@setDataFrame", "onMetaData", METADATA)), 4, 128)),
            b"".join(split(Message(17, 1, 0, b"\x00" + encode("createStream", 4, None)), 3, 128)),
            b"".join(split(user_control(6, 77), 2, 128) + split(control(5, 1 << 16), 2, 128)),
            b"".join(split(Message(9, 1, 0, b"\x17\x01"), 6, 128) + split(Message(8, 1, 0, b"\xaf\x01"), 4, 128)),
        ]
    ):
        for prelude in range(4):
            if prelude > 1 or number in (0, 2, 5):
                yield bytes([prelude, number % 4, number]) + sent


def _client_sessions() -> Iterator[bytes]:
    for name, sent in recorded().items():
        if name.startswith("server"):
            yield b"\x00\x03\x00" + sent[:LONGEST_SEED_BYTES]
    refusal = {"level": "error", "code": "NetStream.Play.StreamNotFound", "description": "no"}
    yield b"\x02\x02\x00" + _commands(("onStatus", 0, None, refusal), ("_error", 2, None, refusal))
    yield b"\x01\x02\x01" + _commands(("onStatus", 0, None, {"level": "status", "code": "NetStream.Publish.Start"}))
    yield b"\x02\x02\x00" + b"".join(split(user_control(1, 1), 2, 128) + split(user_control(6, 9), 2, 128))
    yield b"\x02\x02\x00" + b"".join(split(Message(18, 1, 0, encode(CLOCK, 1.0, 2.0, 3.0, 4.0)), 4, 128))


def _proxy_headers() -> Iterator[bytes]:
    yield b"\x02PROXY TCP4 192.0.2.1 198.51.100.7 40000 1935\r\n\x03rest"
    yield b"\x03PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 65535\r\n"
    yield b"\x01PROXY UNKNOWN anything\r\nGET / HTTP/1.1"
    yield b"\x02" + V2 + b"\x21\x11\x00\x0c" + bytes.fromhex("c0000201c6336407 9c40 078f") + b"\x03"
    yield b"\x02" + V2 + b"\x21\x21\x00\x28" + bytes(10) + b"\xff\xff\xc0\x00\x02\x01" + bytes(24) + b"rest"
    yield b"\x02" + V2 + b"\x20\x00\x00\x00rest"


def _flv_bodies() -> Iterator[bytes]:
    for tag in _tags():
        if tag.type_id in (AUDIO, VIDEO):
            yield bytes([tag.type_id == AUDIO]) + tag.body[:512]
    record = RECORDS[Codec.H264][0]
    unit = b"\x00\x00" + record[6 : 8 + int.from_bytes(record[6:8], "big")]
    yield b"\x00" + avc_frame(0, 0, True, unit + b"\x00\x00\x00\x02\x65\x88" + unit).body
    small = b"\x00\x00\x00\x02\x65\x88" * 80
    yield b"\x00" + avc_frame(0, 0, True, small + b"\x00\x00\xff\xff" + bytes(1500)).body  # cut short
    for body in (
        "17 01 000028 00000001 00000165 88",  # start codes where lengths belong
        "27 01 fff000 00000002 6588 00000000 00000009 41",  # an empty unit, and one that is cut short
        "97 01 00 61766331 01 00 00000000 00000001 65",  # ModEx
        "96 10 61766331 00 000000 0000000165",  # one track
        "96 11 61766331 00 000008 000000 0000000165 01 000001 00",  # several tracks of one codec
        "96 20 61766331 00 000008 000000 0000000165",  # several tracks of several codecs
        "93 68766331 00000002 2601",
        "95 00 4f707573 00 f8fffe",
        "57 01",
    ):
        yield b"\x00" + bytes.fromhex(body)
        yield b"\x01" + bytes.fromhex(body)


def _units() -> Iterator[bytes]:
    yield bytes.fromhex("0000000167 42c00b 0000000168ce0fc8 000001 65880000 000001 4100")
    yield b"\x00\x00\x01" * 4


def _records() -> Iterator[bytes]:
    codecs = list(Codec)
    pictures: dict[Codec, bytes] = {}
    found: list[Frame] = [frame for tag in _tags() if (frame := tag.frame()) is not None]
    for frame in found:
        if not frame.is_config:
            pictures.setdefault(frame.codec, bytes(frame.data[:32]))
    records = [(frame.codec, bytes(frame.data)) for frame in found if frame.is_config]
    records += [(codec, record) for codec, several in RECORDS.items() for record in several]
    records += [(Codec.AAC, bytes.fromhex(text)) for text in ("2b920800", "eb098800", "119056e500", "17805dc010")]
    records.append((Codec.OPUS, b"OpusHead\x01\x06" + bytes(8) + b"\x01\x04\x02" + bytes(range(6))))
    for codec, record in records:
        yield bytes([codecs.index(codec)]) + len(record).to_bytes(2, "big") + record + pictures.get(codec, b"")


def _broadcasts() -> Iterator[bytes]:
    begin = b"\x02" + b"\x03\x05\x00" + b"\x04\x05\x00"  # segments of three seconds, and both configurations
    yield begin + b"\x07\x00\xff\x28\x31\x01" * 3
    yield begin + b"\x07\x00\xff\x28\x31\x01" + b"\x05\x0a" + begin[1:] + b"\x07\x00\xff\x28\x31\x00"
    yield begin + b"\x01\x00\x01\x00\x50" + b"\x01\x00\x00\x00\x00" * 40 + b"\x02\x02" * 40
    yield b"\x01\x04\x05\x00" + b"\x02\x03" * 200
    yield begin + b"\x07\x00\x80\x28\x31\x01" + b"\x03\x00\x01" + b"\x04\x00\x01" + b"\x07\x0c\x80\x28\x31\x01"
    yield begin + b"\x07\x00\x80\x28\x31\x01" + b"\x06\x00\xff\xff\xf0\x00" + b"\x07\x00\x80\x28\x31\x01"
    for video, audio in ENCODERS:
        sent = b"\x00"
        for tag in tags(broadcast(video, audio, seconds=0.2, size=(32, 32))):
            if tag.type_id in (AUDIO, VIDEO):
                body = tag.body[:600]
                sent += b"\x00\x00" + bytes([tag.type_id == AUDIO]) + len(body).to_bytes(2, "big") + body
        yield sent[:LONGEST_SEED_BYTES]


def _heads() -> Iterator[bytes]:
    for line, *more in (
        ("GET /live/show/master.m3u8", "Accept-Encoding: gzip, deflate;q=0.5", "Origin: http://p.example"),
        ("GET /live/show/720p/index.m3u8?_HLS_msn=5&_HLS_part=1", 'If-None-Match: "abc", W/"d"'),
        ("HEAD /live/show/source/1799999000000-12.m4s", "Range: bytes=0-99", 'If-Range: "abc"'),
        ("GET /live/show/source/1799999000000-init-0.mp4", "Range: bytes=-5", "Connection: keep-alive"),
        ("GET /go/live/show.flv?rendition=480p", "X-Forwarded-For: 192.0.2.1, 10.0.0.1"),
        ("GET /steer/show?base=edge-2&_HLS_pathway=edge-1&_HLS_throughput=1000", "User-Agent: player"),
        ("OPTIONS /go/live/show/master.m3u8", "Access-Control-Request-Method: GET"),
        ("GET /live/show.flv", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
        ("GET /state?since=ab-2", "X-Livestream-Node: edge-1.1.00"),
        ("POST /take/show?epoch=5", "Content-Length: 0"),
    ):
        yield "\r\n".join([f"{line} HTTP/1.1", "Host: edge:8080", *more]).encode("ascii")
    yield b"GET / HTTP/1.0"
    for shape in SHAPES.values():
        yield shape.removesuffix(b"\r\n\r\n")


def _connections() -> Iterator[bytes]:
    heads = [head + b"\r\n\r\n" for head in _heads()]
    for number, head in enumerate(heads):
        yield bytes([number % 5]) + head
    yield b"\x02" + heads[0] + heads[1] + heads[2] + heads[0][:20]


def _push_requests() -> Iterator[bytes]:
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    ping = b"\x89\x82abcd\x00\x00" + b"\x88\x82abcd\x62\x8a"
    yield b"Host: h\r\nAccept: */*\r\n\r\nanything"
    yield f"Host: h\r\n{upgrade}\r\n{key}".encode("ascii") + b"\r\n\r\n" + ping
    yield f"Host: h\r\n{upgrade}\r\n{key}\r\nSec-WebSocket-Protocol: a, b".encode("ascii") + b"\r\n\r\n\x82\xff"
    yield b"Upgrade: websocket\r\nConnection: Upgrade"
    yield b"Host: h\r\nUpgrade: websocket\r\nConnection: \xff"


def _ops_connections() -> Iterator[bytes]:
    basic = b64encode(f"anyone:{TOKEN}".encode("ascii")).decode("ascii")
    for number, (line, *more) in enumerate(
        (
            ("GET /healthz",),
            ("GET /metrics", f"Authorization: Bearer {TOKEN}"),
            ("GET /api/v1/streams", f"Authorization: Basic {basic}"),
            ("POST /drain", f"Authorization: Bearer {TOKEN}", "Origin: http://ops.example", "Content-Length: 0"),
            ("GET /api/v1/route?stream=show&address=192.0.2.1", f"Authorization: Bearer {TOKEN}"),
            ("GET /static/cluster.js", f"Authorization: Bearer {TOKEN}", "Accept-Encoding: gzip"),
            ("GET /cluster", "Authorization: Basic !", "Origin: http://evil.example"),
        )
    ):
        head = "\r\n".join([f"{line} HTTP/1.1", "Host: ops.example", *more, "", ""])
        yield bytes([number % 3]) + head.encode("ascii")


def _forwarded() -> Iterator[bytes]:
    texts = ("192.0.2.1", "192.0.2.1, 10.0.0.1:80", "[2001:db8::1]:443, 10.0.0.2", "::ffff:192.0.2.1", "unknown, _x")
    for number, text in enumerate(texts):
        yield bytes([number % 2]) + text.encode("ascii")


def _signatures() -> Iterator[bytes]:
    sound = sign("edge-1", SECRET, NOW).encode("ascii")
    yield b"\x00" + sound
    yield b"\x00" + sound[:-1]
    yield b"\x00" + sign("edge-1", "another secret of tests", NOW).encode("ascii")
    yield b"\x00" + sign("edge-1", SECRET, NOW - 3600).encode("ascii")
    yield b"\x01\x00f"


def _announcements() -> Iterator[bytes]:
    yield from (text for name, text in kept().items() if name != "heartbeat")


def _states() -> Iterator[bytes]:
    yield wire.encode_document(window_of("show", 3).announcements())
    yield wire.encode_document([KINDS[name].value for name in ("restarts", "segment", "dependent", "gap", "ended")])
    later = KINDS["segment"].value
    yield wire.encode_document([KINDS["gap"].value, later, KINDS["segment"].value])


def _heartbeats() -> Iterator[bytes]:
    heartbeat = kept()["heartbeat"]
    yield heartbeat
    yield json.dumps({**json.loads(heartbeat), "state": "gone", "latitude": None, "longitude": None}).encode("ascii")


def _relays() -> Iterator[bytes]:
    def media(tag: Tag) -> bytes:
        body = tag.body[:200]
        return bytes([0, tag.type_id == AUDIO]) + tag.timestamp_ms.to_bytes(4, "big") + bytes([len(body)]) + body

    sent = b"".join(media(tag) for tag in _tags()[:8] if tag.type_id in (AUDIO, VIDEO))
    clock = encode(10_000.0, 1.8e9, 5.0, 0.0)
    announced = b"\x01" + bytes([len(clock)]) + clock + b"\x01"
    yield announced + sent + b"\x03" + announced + sent
    yield sent + b"\x03" + sent
    yield b"\x02\x05" + bytes(20) + sent


def _pipes() -> Iterator[bytes]:
    frame = Frame(Codec.H264, 10_040, b"\x17\x01\x00\x00\x00data", 5, 40, is_key=True, arrived=1.8e9)
    records = (
        commands.Setup("veryfast", (Rung("720p", 720, 2500), Rung("480p", 480, 1200))),
        commands.Source(frame, 4_000),
        commands.Flush(),
        commands.Produced("720p", frame),
        commands.Done(flushed=True),
    )
    yield b"\x03" + b"".join([commands.encode(each) for each in records])
    yield from (b"\x02" + commands.encode(each) for each in records)


def _addresses() -> Iterator[bytes]:
    yield from (
        *(b"edge.example", b"Edge.Example.:8080", b"[2001:db8::1]:80", b"192.0.2.1:0", b"http://edge-1.example:8080"),
        *(b"redis://user:pass%20word@h:6379/1", b"redis://:secret@[::1]", b"redis:///0", b"unix:/run/redis.sock"),
        *(b"tcp:8080", b"tcp:port=8080:interface=127.0.0.1", b"tcp:80:interface=\\:\\:1:backlog=50", b"tcp6:80"),
        *(b"unix:/run/x:mode=660", b"systemd:domain=INET:index=0", b"ssl:443:privateKey=k.pem:certKey=c.pem"),
    )


def _configurations() -> Iterator[bytes]:
    for number, path in enumerate(sorted(ETC.glob("*.toml"))):
        yield bytes([number % 4]) + path.read_bytes()
    yield b"\x00" + load("all", None, {}, [], str).to_toml().encode("utf-8")
    options = ("hls.segment_s=2", "ingest.keys={'*' = 'long enough'}", "LIVESTREAM_HLS_WINDOW=12")
    yield b"\x01" + SEPARATOR.join(("[push]\ntick_ms = 0", *options, "LIVESTREAM_BUS_REDIS=unix:/x")).encode("utf-8")
    upstreams = 'edge.upstreams=[{http = "http://origin:8083", rtmp = "rtmp://origin:1936"}]'
    yield b"\x03" + SEPARATOR.join(("", upstreams, "bus.redis=redis://h:6379/1", "node.latitude=52.5")).encode("utf-8")
    yield b"\x00" + b"[hls]\nsegment = 3\nwindow = true\n[nothing]\nx = 1\ny"


SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "handshake": _handshakes,
    "chunks": _chunk_streams,
    "amf0": _amf0_values,
    "server_session": _server_sessions,
    "client_session": _client_sessions,
    "rtmp_connection": _server_sessions,
    "proxy_header": _proxy_headers,
    "flv_tags": _flv_bodies,
    "annexb": _units,
    "codec_records": _records,
    "broadcasts": _broadcasts,
    "http_head": _heads,
    "http_connection": _connections,
    "push_request": _push_requests,
    "ops_connection": _ops_connections,
    "forwarded": _forwarded,
    "signatures": _signatures,
    "announcements": _announcements,
    "states": _states,
    "heartbeats": _heartbeats,
    "relay": _relays,
    "transcoder_records": _pipes,
    "addresses": _addresses,
    "configuration": _configurations,
}


def main() -> None:
    for name, seeds in SEEDS.items():
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for data in seeds():
            (folder / sha1(data).hexdigest()).write_bytes(data)


if __name__ == "__main__":
    main()
