"""
The fuzz targets: one function of bytes for each parser of untrusted input, which raises only at a defect.

A target allows the errors that its parser documents and no others, and asserts invariants of the result. Every test
run replays the inputs in ``corpus/TARGET`` (`test_corpus`); ``make fuzz`` searches for more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from attrs import frozen

from livestream.config import SECTIONS, SETTINGS
from livestream.net.proxy_protocol import V2
from tests.fuzz import config_targets, connection_targets, http_targets, media_targets, message_targets, rtmp_targets

CORPUS = Path(__file__).parent / "corpus"


@frozen
class Target:
    """``run`` raises only at a defect; ``dictionary`` has tokens for the fuzzer to insert."""

    run: Callable[[bytes], None]
    dictionary: tuple[bytes, ...] = ()


_RTMP_TOKENS = (
    *(b"connect", b"createStream", b"publish", b"play", b"deleteStream", b"FCUnpublish", b"pause", b"seek"),
    *(b"getStreamLength", b"_checkbw", b"_result", b"_error", b"onStatus", b"@setDataFrame", b"onMetaData"),
    *(b"app", b"level", b"code", b"description", b"NetStream.Play.Start"),
)
_FOURCCS = (b"avc1", b"hvc1", b"av01", b"vp09", b"mp4a", b"Opus")
_JSON_TOKENS = (
    *(b'"v":2', b'"v":1', b'"stream":"show"', b'"epoch":', b'"first":', b'"kind":"segment"', b'"kind":"ended"'),
    *(b'"kind":"began"', b'"restarts":true', b'"target":', b'"segment":{', b'"rendition":{', b'"msn":', b'"disc":'),
    *(b'"last":', b'"media":null', b'"init":null', b'"epochs":{', b'"rate":', b"true", b"null", b"1e999", b"NaN"),
    *(b'"id":', b'"http":"http://[', b'"rtmp":"', b'"state":"gone"', b'"latitude":', b'"answers":[', b'"nonce":'),
    *(b"\\ud800", b"[[[[["),
)
_HTTP_TOKENS = (
    *(b"GET ", b"HEAD ", b"OPTIONS ", b"POST ", b" HTTP/1.1\r\n", b"Host: h\r\n", b"\r\n\r\n", b"Upgrade: "),
    *(b"Content-Length: 0", b"Transfer-Encoding: chunked", b"Connection: close", b"Expect: 100-continue"),
    *(b"Range: bytes=0-1", b"Range: bytes=-5", b"If-None-Match: ", b"If-Range: ", b"Accept-Encoding: gzip;q=0.5"),
    *(b"X-Forwarded-For: ", b"/live/show/master.m3u8", b"/live/show/720p/index.m3u8", b"/live/show.flv"),
    *(b"/go/live/show.flv", b"/steer/show", b"?base=edge-2&_HLS_pathway=", b"/1799999000000-1.m4s", b"-init-0.mp4"),
    *(b"/state?since=ab-2",),
)
_TOML_TOKENS = (
    *(f"[{section}]".encode() for section in SECTIONS),
    *(f"{each.name} = ".encode() for each in SETTINGS.values()),
    *(b"LIVESTREAM_", b"\x1e", b"inf", b"nan", b"1e400", b"1_000", b'"""', b"'''", b"[[", b"2000-01-01"),
    *(b'{http = "http://h"}', b"redis://", b"tcp:", b"systemd:domain=INET:index=0", b"unix:"),
)
_UPGRADE_TOKENS = (
    *(b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\n", b"Sec-WebSocket-Version: 13\r\n", b"Host: h\r\n"),
    *(b"Sec-WebSocket-Extensions: permessage-deflate\r\n", b"Sec-WebSocket-Protocol: a\r\n", b"\r\n\r\n"),
)
_OPS_TOKENS = (
    *(b"GET /healthz", b"/api/v1/streams", b"/metrics", b"POST /drain", b" HTTP/1.1\r\n", b"Host: ops.example\r\n"),
    *(b"\r\n\r\n", b"Authorization: Bearer ", b"Authorization: Basic ", b"Origin: http://", b"Host: [::1]:80\r\n"),
)
_ADDRESS_TOKENS = (
    *(b"tcp:", b"tcp6:", b"ssl:", b"unix:", b"systemd:", b":interface=", b":backlog=", b"\\:", b"redis://", b"@"),
    *(b"http://", b"[::1]", b":80", b"xn--", b"localhost", b"/0", b"%00", b"::ffff:1.2.3.4"),
)
_HOPS = (b"192.0.2.1", b"10.0.0.1", b"::ffff:", b"[2001:db8::1]:80", b"%", b", ")

TARGETS: dict[str, Target] = {
    "handshake": Target(rtmp_targets.handshake),
    "chunks": Target(rtmp_targets.chunks),
    "amf0": Target(rtmp_targets.amf0, _RTMP_TOKENS),
    "server_session": Target(rtmp_targets.server_session, _RTMP_TOKENS),
    "client_session": Target(rtmp_targets.client_session, _RTMP_TOKENS),
    "rtmp_connection": Target(connection_targets.rtmp_connection, _RTMP_TOKENS),
    "proxy_header": Target(connection_targets.proxy_header, (b"PROXY TCP4 ", b"PROXY UNKNOWN", b"TCP6", b"\r\n", V2)),
    "flv_tags": Target(media_targets.flv_tags, _FOURCCS),
    "annexb": Target(media_targets.annexb),
    "codec_records": Target(media_targets.codec_records, (b"OpusHead",)),
    "broadcasts": Target(media_targets.broadcasts, _FOURCCS),
    "http_head": Target(http_targets.http_head, _HTTP_TOKENS),
    "http_connection": Target(http_targets.http_connection, _HTTP_TOKENS),
    "push_request": Target(http_targets.push_request, _UPGRADE_TOKENS),
    "ops_connection": Target(http_targets.ops_connection, _OPS_TOKENS),
    "forwarded": Target(http_targets.forwarded, _HOPS),
    "signatures": Target(http_targets.signatures),
    "announcements": Target(message_targets.announcements, _JSON_TOKENS),
    "states": Target(message_targets.states, _JSON_TOKENS),
    "heartbeats": Target(message_targets.heartbeats, _JSON_TOKENS),
    "relay": Target(message_targets.relay, _FOURCCS),
    "transcoder_records": Target(message_targets.transcoder_records, _FOURCCS),
    "addresses": Target(config_targets.addresses, _ADDRESS_TOKENS),
    "configuration": Target(config_targets.configuration, _TOML_TOKENS),
}


def kept(name: str) -> Iterable[Path]:
    """The corpus of a target, in a fixed order."""
    return sorted((CORPUS / name).iterdir())
