"""
FLV tag bodies, legacy and Enhanced RTMP, as frames, and frames as tag bodies.

The legacy layout is Adobe's "Video File Format Specification 10.1", E.4; the other is Veovera's "Enhanced RTMP (v2)".
"""

from __future__ import annotations

from collections.abc import Iterator

from livestream.media.annexb import repair_units, with_long_lengths
from livestream.media.errors import MediaError, UnsupportedCodec
from livestream.media.left_out import NotServed, Reason
from livestream.media.timeline import START_MS
from livestream.model.frames import Codec, Frame, Track

AUDIO, VIDEO, DATA = 8, 9, 18
"""The types of tags (E.4.1), and of the RTMP messages that carry the same bodies (RTMP specification 1.0, 7.1)."""

MIN_COMPOSITION_MS, MAX_COMPOSITION_MS = -START_MS // 2, 20_000
"""
The smallest and the largest composition time offset: no picture is shown before time 0, where nothing can be written,
and more is an encoder error. Eight B-frames at two frames a second take four seconds.
"""

MAX_MODIFIERS, MAX_TRACKS = 16, 64
"""No encoder uses more in one tag; each takes time to parse."""
MAX_RECORD_BYTES = 64 << 10
"""The largest decoder configuration; those of encoders have a few hundred bytes."""

_FOURCC = {
    b"avc1": Codec.H264,
    b"hvc1": Codec.HEVC,
    b"av01": Codec.AV1,
    b"vp09": Codec.VP9,
    b"mp4a": Codec.AAC,
    b"Opus": Codec.OPUS,
}
_LEGACY_VIDEO = {2: "Sorenson H.263", 3: "Screen Video", 4: "VP6", 5: "VP6 with alpha", 6: "Screen Video 2"}
_LEGACY_AUDIO = {0: "PCM", 1: "ADPCM", 2: "MP3", 3: "PCM", 4: "Nellymoser", 5: "Nellymoser", 6: "Nellymoser",
                 7: "G.711", 8: "G.711", 11: "Speex", 14: "MP3"}  # fmt: skip
_LEGACY_CODECS = {7: Codec.H264, 12: Codec.HEVC}
_SEQUENCE_START, _CODED_FRAMES, _CODED_FRAMES_X, _MOD_EX = 0, 1, 3, 7
_AUDIO_MULTITRACK, _VIDEO_MULTITRACK = 5, 6
_ONE_TRACK, _MANY_CODECS = 0, 2
_COMMAND_FRAME = 5
_KEY_FRAME, _INTER_FRAME = 1, 2
MULTITRACK_HEADS = {
    Track.VIDEO: frozenset(0x80 | kind << 4 | packet for kind in range(8) for packet in (_VIDEO_MULTITRACK, _MOD_EX)),
    Track.AUDIO: frozenset(0x90 | packet for packet in (_AUDIO_MULTITRACK, _MOD_EX)),
}
"""The first bytes of the bodies that may have several tracks."""
_NO_OFFSET = bytes(3)
_WITH_NAL_UNITS = (Codec.H264, Codec.HEVC)
_AAC = Codec.AAC


def parse_video(timestamp_ms: int, body: bytes, arrived: float = 0.0, nal_bytes: int = 4) -> Frame | None:
    """
    Parse the body of a video tag; ``None`` if it carries no media (end of sequence, HDR metadata, command).

    NAL units have lengths of ``nal_bytes``; those of the frame have four bytes.

    :raises MediaError: the body is truncated or inconsistent.
    :raises UnsupportedCodec: the codec cannot be served.
    :raises NotServed: it is of another track than the first.
    """
    if len(body) < 2:
        raise MediaError(f"a tag of {len(body)} bytes is cut short")
    first, packet = body[0], body[1]
    if first & 0x80:
        return _enhanced_video(timestamp_ms, body, arrived, nal_bytes)
    kind, codec_id = first >> 4, first & 15
    if kind == _COMMAND_FRAME:
        return None
    codec = _LEGACY_CODECS.get(codec_id)
    if codec is None:
        name = _LEGACY_VIDEO.get(codec_id, f"with id {codec_id}")
        raise UnsupportedCodec(f"video {name} cannot be served; use H.264 (or HEVC, AV1, VP9)")
    if packet > 1:
        return None
    cts_ms = 0 if body[2:5] == _NO_OFFSET else _composition_ms(body, 2)
    return _video(codec, timestamp_ms, body, 5, cts_ms, kind == _KEY_FRAME, packet == 0, arrived, nal_bytes)


def parse_audio(timestamp_ms: int, body: bytes, arrived: float = 0.0) -> Frame | None:
    """
    Parse the body of an audio tag; ``None`` if it carries no media.

    :raises MediaError: the body is truncated.
    :raises UnsupportedCodec: the codec cannot be served.
    :raises NotServed: it is of another track than the first, or AAC with ADTS headers.
    """
    if len(body) < 2:
        raise MediaError(f"a tag of {len(body)} bytes is cut short")
    sound_format, packet = body[0] >> 4, body[1]
    if sound_format == 9:
        return _enhanced_audio(timestamp_ms, body, arrived)
    if sound_format != 10:
        name = _LEGACY_AUDIO.get(sound_format, f"with id {sound_format}")
        raise UnsupportedCodec(f"audio {name} cannot be served; use AAC (or Opus)")
    if packet > 1 or len(body) == 2:
        return None
    return _audio(_AAC, timestamp_ms, body, 2, packet == 0, arrived)


def _enhanced_video(timestamp_ms: int, body: bytes, arrived: float, nal_bytes: int) -> Frame | None:
    kind = body[0] >> 4 & 7
    packet, at = _skip_modifiers(body, body[0] & 15)
    if packet == _VIDEO_MULTITRACK:
        packet, inner = _first_track(body, at)
        return _enhanced_video(timestamp_ms, bytes([0x80 | kind << 4 | packet]) + inner, arrived, nal_bytes)
    if kind == _COMMAND_FRAME or packet not in (_SEQUENCE_START, _CODED_FRAMES, _CODED_FRAMES_X):
        return None
    codec, at = _codec(body, at, Track.VIDEO), at + 4
    cts_ms = 0
    if packet == _CODED_FRAMES and codec in _WITH_NAL_UNITS:
        cts_ms, at = _composition_ms(body, at), at + 3
    is_key, is_config = kind == _KEY_FRAME, packet == _SEQUENCE_START
    if codec is Codec.H264:  # as players that know no Enhanced RTMP want it
        head = (b"\x17" if is_key else b"\x27") + (b"\x00" if is_config else b"\x01")
        body, at = b"".join((head, cts_ms.to_bytes(3, "big", signed=True), body[at:])), 5
    return _video(codec, timestamp_ms, body, at, cts_ms, is_key, is_config, arrived, nal_bytes)


def _enhanced_audio(timestamp_ms: int, body: bytes, arrived: float) -> Frame | None:
    packet, at = _skip_modifiers(body, body[0] & 15)
    if packet == _AUDIO_MULTITRACK:
        packet, inner = _first_track(body, at)
        return _enhanced_audio(timestamp_ms, bytes([0x90 | packet]) + inner, arrived)
    if packet not in (_SEQUENCE_START, _CODED_FRAMES):
        return None
    codec, at, is_config = _codec(body, at, Track.AUDIO), at + 4, packet == _SEQUENCE_START
    if codec is Codec.AAC:
        body, at = (b"\xaf\x00" if is_config else b"\xaf\x01") + body[at:], 2
    return _audio(codec, timestamp_ms, body, at, is_config, arrived)


def _video(
    codec: Codec,
    dts_ms: int,
    body: bytes,
    at: int,
    cts_ms: int,
    is_key: bool,
    is_config: bool,
    arrived: float,
    nal_bytes: int,
) -> Frame:
    if len(body) <= at:
        raise MediaError("a video tag without data")
    if is_config and len(body) > MAX_RECORD_BYTES:
        raise MediaError(f"a decoder configuration of {len(body)} bytes")
    if codec in _WITH_NAL_UNITS and not is_config:
        if nal_bytes != 4:
            body = body[:at] + with_long_lengths(body[at:], nal_bytes)
            if len(body) == at:
                raise MediaError("a video tag without a complete NAL unit")
        repaired = repair_units(body, at)
        if repaired is not None:
            if not repaired:
                raise MediaError("a video tag without a complete NAL unit")
            body = body[:at] + repaired
    return Frame(codec, dts_ms, body, at, cts_ms, is_key, is_config, arrived)


def _audio(codec: Codec, dts_ms: int, body: bytes, at: int, is_config: bool, arrived: float) -> Frame:
    if len(body) <= at:
        raise MediaError("an audio tag without data")
    if is_config and len(body) > MAX_RECORD_BYTES:
        raise MediaError(f"a decoder configuration of {len(body)} bytes")
    return Frame(codec, dts_ms, body, at, 0, True, is_config, arrived)


def _codec(body: bytes, at: int, track: Track) -> Codec:
    fourcc = body[at : at + 4]
    codec = _FOURCC.get(fourcc)
    if codec is None or codec.track is not track:
        instead = "H.264, HEVC, AV1 or VP9" if track is Track.VIDEO else "AAC or Opus"
        raise UnsupportedCodec(f"{track.value} {fourcc.decode('ascii', 'replace')!r} cannot be served; use {instead}")
    return codec


def _skip_modifiers(body: bytes, packet: int) -> tuple[int, int]:
    """Skip ModEx prefixes; return the packet type behind them, and where its data begins."""
    at, count = 1, 0
    while packet == _MOD_EX:
        count += 1
        if count > MAX_MODIFIERS:
            raise MediaError(f"a tag with more than {MAX_MODIFIERS} modifiers")
        size, at = _byte(body, at) + 1, at + 1
        if size == 256:
            size, at = int.from_bytes(body[at : at + 2], "big") + 1, at + 2
        at += size
        packet, at = _byte(body, at) & 15, at + 1
    return packet, at


def further_track(body: bytes) -> int | None:
    """The number of a track other than the first in an intact body that begins with one of `MULTITRACK_HEADS`."""
    packet, at = _skip_modifiers(body, body[0] & 15)
    if packet not in (_VIDEO_MULTITRACK, _AUDIO_MULTITRACK):
        return None
    return next((track for track, _ in _tracks(body, at) if track), None)


def _first_track(body: bytes, at: int) -> tuple[int, bytes]:
    """
    The packet type of a multitrack packet, and its track 0 from the FourCC on.

    :raises NotServed: it has only other tracks.
    """
    packet = _byte(body, at) & 15
    if packet in (_VIDEO_MULTITRACK, _AUDIO_MULTITRACK, _MOD_EX):
        raise MediaError("a multitrack packet within another")
    other = 0
    for track, data in _tracks(body, at):
        if track == 0:
            return packet, data
        other = track
    raise NotServed(Reason.FURTHER_TRACK, further_text(other))


def further_text(track: int) -> str:
    return f"track {track} of the multitrack stream is not served, only track 0; publish it under a name of its own"


def _tracks(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """The tracks of a multitrack packet: each with its number, and its data from the FourCC on."""
    kind = _byte(body, at) >> 4
    at += 1
    fourcc, count = b"", 0
    while at < len(body):
        count += 1
        if count > MAX_TRACKS:
            raise MediaError(f"a multitrack packet with more than {MAX_TRACKS} tracks")
        if not fourcc or kind == _MANY_CODECS:
            fourcc, at = body[at : at + 4], at + 4
        track, at = _byte(body, at), at + 1
        size = len(body) - at
        if kind != _ONE_TRACK:
            size, at = int.from_bytes(body[at : at + 3], "big"), at + 3
        if at + size > len(body):
            raise MediaError("a multitrack packet that is cut short")
        yield track, fourcc + body[at : at + size]
        at += size


def _byte(body: bytes, at: int) -> int:
    try:
        return body[at]
    except IndexError:
        raise MediaError(f"a tag of {len(body)} bytes is cut short") from None


def _composition_ms(body: bytes, at: int) -> int:
    """The composition time offset, clamped to a plausible range."""
    if len(body) < at + 3:
        raise MediaError("a tag is cut short in its composition time")
    offset_ms = int.from_bytes(body[at : at + 3], "big", signed=True)
    return min(max(offset_ms, MIN_COMPOSITION_MS), MAX_COMPOSITION_MS)


def set_composition(frame: Frame, cts_ms: int) -> None:
    """Give a new frame of H.264 or HEVC another composition time offset, in its tag body too."""
    if frame.codec not in _WITH_NAL_UNITS or cts_ms == frame.cts_ms:
        return
    time = cts_ms.to_bytes(3, "big", signed=True)
    at, body = frame.data_offset, frame.body
    if not body[0] & 0x80:
        frame.body = b"".join((body[:2], time, body[at:]))
    else:
        head = bytes([0x80 | (_KEY_FRAME if frame.is_key else _INTER_FRAME) << 4 | _CODED_FRAMES])
        frame.body = b"".join((head, frame.codec.value.encode("ascii"), time, body[at:]))
        frame.data_offset = 8
    frame.cts_ms = cts_ms


def configuration(codec: Codec, record: bytes) -> Frame:
    """The frame that carries a decoder configuration record of any codec."""
    if codec is Codec.H264:
        return avc_config(record)
    if codec is Codec.AAC:
        return aac_config(record)
    head = b"\x90" + codec.value.encode("ascii")  # a key frame, or Enhanced RTMP's audio; and a sequence start
    return Frame(codec, 0, head + record, len(head), is_key=True, is_config=True)


def avc_config(record: bytes, dts_ms: int = 0) -> Frame:
    """The frame that carries an AVCDecoderConfigurationRecord."""
    return Frame(Codec.H264, dts_ms, b"\x17\x00\x00\x00\x00" + record, 5, is_key=True, is_config=True)


def avc_frame(dts_ms: int, cts_ms: int, is_key: bool, data: bytes, arrived: float = 0.0) -> Frame:
    """The frame that carries one picture's length-prefixed NAL units."""
    head = (b"\x17" if is_key else b"\x27") + b"\x01" + cts_ms.to_bytes(3, "big", signed=True)
    return Frame(Codec.H264, dts_ms, head + data, 5, cts_ms, is_key, arrived=arrived)


def aac_config(record: bytes, dts_ms: int = 0) -> Frame:
    """The frame that carries an AudioSpecificConfig."""
    return Frame(Codec.AAC, dts_ms, b"\xaf\x00" + record, 2, is_key=True, is_config=True)


def aac_frame(dts_ms: int, data: bytes, arrived: float = 0.0) -> Frame:
    """The frame that carries one raw AAC access unit."""
    return Frame(Codec.AAC, dts_ms, b"\xaf\x01" + data, 2, is_key=True, arrived=arrived)


def file_header(video: bool, audio: bool) -> bytes:
    """The header of an FLV file, with the zero size of the tag before the first."""
    return b"FLV\x01" + bytes([(4 if audio else 0) | (1 if video else 0)]) + b"\x00\x00\x00\x09\x00\x00\x00\x00"


def tag(type_id: int, timestamp_ms: int, body: bytes) -> bytes:
    """A complete FLV tag with its trailing size; the timestamp is taken modulo 2^32."""
    size = len(body)
    time = timestamp_ms & 0xFFFFFFFF
    head = bytes([type_id]) + size.to_bytes(3, "big") + (time & 0xFFFFFF).to_bytes(3, "big") + bytes([time >> 24])
    return b"".join((head, b"\x00\x00\x00", body, (size + 11).to_bytes(4, "big")))
