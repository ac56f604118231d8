"""Media from an untrusted publisher: FLV tags, configuration records, and whole broadcasts through to segments."""

from __future__ import annotations

import re
from itertools import pairwise
from struct import unpack_from

from attrs import define, field

from livestream.media.annexb import max_units, nal_units, to_length_prefixed
from livestream.media.codecs import VideoConfig, parse_config, samples_in, sized
from livestream.media.errors import MediaError
from livestream.media.flv import (
    AUDIO,
    MAX_COMPOSITION_MS,
    MIN_COMPOSITION_MS,
    VIDEO,
    aac_config,
    aac_frame,
    avc_config,
    avc_frame,
    parse_audio,
    parse_video,
    tag,
)
from livestream.media.parameter_sets import MAX_IN_FRAME, ParameterSets
from livestream.media.pictures import MAX_DEPTH, MAX_HEIGHT, MAX_REFERENCES, MAX_WIDTH, PictureFormat
from livestream.media.timeline import Timeline
from livestream.model.frames import Codec, Frame, Track
from livestream.model.names import SOURCE
from livestream.packaging.cuts import MAX_SEGMENT_S, Cut, CutPlanner
from livestream.packaging.fmp4 import init_segment
from livestream.packaging.segmenter import Packaged, PackagedInit, PackagedSegment, Segmenter
from tests.fuzz.bounds import held_bytes
from tests.fuzz.choices import Choices
from tests.packaging.mp4 import boxes, samples

CODEC_NAMES = {
    Codec.H264: r"avc1\.[0-9a-f]{6}",
    Codec.HEVC: r"hvc1\.[ABC]?[0-9]{1,2}\.[0-9A-F]{1,8}\.[LH][0-9]{1,3}(\.[0-9A-F]{1,2}){0,6}",
    Codec.AV1: r"av01\.[0-7]\.[0-9]{2}[MH]\.(08|10|12)",
    Codec.VP9: r"vp09\.0[0-3]\.[0-9]{2}\.(08|10|12)",
    Codec.AAC: r"mp4a\.40\.(1|2|3|4|5|29)",
    Codec.OPUS: r"Opus",
}
"""The syntax of CODECS: RFC 6381, ISO/IEC 14496-15 (E.3), and the bindings of AV1 and of VP to ISOBMFF."""


def flv_tags(data: bytes) -> None:
    """
    Any tag body is rejected, carries no media, or is a frame that a relay parses to the same frame.

    Input: audio or video, the body.
    """
    choices = Choices(data)
    type_id, body = choices.pick((VIDEO, AUDIO)), choices.rest()
    parse = parse_video if type_id == VIDEO else parse_audio
    try:
        frame = parse(40, body)
    except MediaError as error:
        assert len(str(error)) < 300
        return
    if frame is None:
        return
    assert frame.track is (Track.VIDEO if type_id == VIDEO else Track.AUDIO)
    assert len(frame.data) > 0
    assert len(frame.body) <= len(body) + 4 * len(body)  # a start code of three bytes becomes a length of four
    assert MIN_COMPOSITION_MS <= frame.cts_ms <= MAX_COMPOSITION_MS
    assert parse(40, frame.body) == frame
    assert tag(type_id, 1 << 32 | 40, frame.body)[11:-4] == frame.body
    if frame.codec in (Codec.H264, Codec.HEVC) and not frame.is_config:
        units = _units(bytes(frame.data))
        assert units and all(units)
    if frame.track is Track.VIDEO and not frame.is_config:
        _check_sets(frame)


def _check_sets(frame: Frame) -> None:
    """In-band parameter sets are within the limits or rejected, and are parsed once."""
    sets = ParameterSets()
    try:
        found = sets.anywhere(frame)
        before = sets.before_slices(frame)
    except MediaError as error:
        assert len(str(error)) < 300
        return
    reads = sets.reads
    assert sets.anywhere(frame) == found and sets.reads == reads <= len(sets.known) <= MAX_IN_FRAME
    for pictures in filter(None, (found, before)):
        _check_format(pictures)


def _check_format(pictures: PictureFormat) -> None:
    """The format is within the limits of the decoder."""
    assert max(pictures.coded_width, pictures.coded_height) <= MAX_WIDTH
    assert min(pictures.coded_width, pictures.coded_height) <= MAX_HEIGHT
    assert pictures.chroma <= 3 and pictures.depth <= MAX_DEPTH and pictures.references <= MAX_REFERENCES


def _units(data: bytes) -> list[bytes]:
    """Split length-prefixed units; every byte belongs to one."""
    units, at = [], 0
    while at < len(data):
        (size,) = unpack_from(">I", data, at)
        assert at + 4 + size <= len(data)
        units.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return units


def annexb(data: bytes) -> None:
    """Converting start codes to lengths preserves the units."""
    units = list(nal_units(data))
    assert all(unit and not unit.endswith(b"\x00") and b"\x00\x00\x01" not in unit for unit in units)
    try:
        prefixed = to_length_prefixed(data)
    except MediaError:
        assert len(units) > max_units(min(len(data), sum(4 + len(unit) for unit in units)))
    else:
        assert _units(prefixed) == units
    assert list(nal_units(b"".join(b"\x00\x00\x01" + unit for unit in units))) == units


def codec_records(data: bytes) -> None:
    """
    Any configuration record is rejected, or gives a valid codec string and initialisation segment.

    Input: codec, length of the record (2 bytes), record, a frame of the track.
    """
    choices = Choices(data)
    codec, size = choices.pick(list(Codec)), choices.number(2)
    record, picture = choices.take(size), choices.rest()
    try:
        config = parse_config(Frame(codec, 0, record, 0, is_config=True))
        if isinstance(config, VideoConfig):
            config = sized(config, Frame(codec, 0, picture, 0, is_key=True))
    except MediaError as error:
        assert len(str(error)) < 300
        return
    assert config.codec is codec and config.record == record
    assert re.fullmatch(CODEC_NAMES[codec], config.codec_string), config.codec_string
    if isinstance(config, VideoConfig):
        if codec is not Codec.VP9 or config.width:
            assert min(config.width, config.height) >= 2 and max(config.width, config.height) <= MAX_WIDTH
            _check_format(config.pictures)
        _check_header(init_segment(config, None), record)
    else:
        assert 7350 <= config.sample_rate <= 96000 and 1 <= config.channels <= 8
        assert not picture or 0 < samples_in(config, memoryview(picture)) <= 5760
        _check_header(init_segment(None, config), b"" if codec is Codec.OPUS else record)


def _check_header(header: bytes, record: bytes) -> None:
    kinds = [kind for kind, _, _ in boxes(header)]
    assert kinds[:3] == [b"ftyp", b"moov", b"mvhd"] and kinds.count(b"trak") == kinds.count(b"trex") >= 1
    assert record in header


RECORDS: dict[Codec, tuple[bytes, ...]] = {
    Codec.H264: (
        bytes.fromhex("0142c00bffe1001667 42c00bda0a36840000030004000003 00c83c50aa80 0100 0468ce0fc8"),
        bytes.fromhex("0142c00bffe1001667 42c00bda0a36840000030004000003 00c83c50aa80 0100 0468ce0fc9"),
    ),
    Codec.AAC: (b"\x11\x90", b"\x12\x10", b"\x13\x88"),
}
"""Valid records for operations to choose from."""
STEPS_MS = (40, 40, 20, 21, 33, 0, 1, 250, 900, 3000, 9999, 10001, 60_000, -40, -900, -5000)
MOST_FRAMES = 400


@define(eq=False)
class Broadcast:
    """Processes a publisher's messages as `livestream.ingest.broadcast` does, for the source rendition."""

    segment_s: int
    planner: CutPlanner = field(init=False)
    segmenter: Segmenter = field(factory=lambda: Segmenter(SOURCE, True, limit_bytes=1 << 20))
    line: Timeline = field(factory=Timeline)
    raw_ms: int = 0
    fed: int = 0
    fed_bytes: int = 0
    cuts: list[Cut] = field(factory=list)
    out: list[Packaged] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.planner = CutPlanner(self.segment_s, 100, 5)

    def message(self, type_id: int, body: bytes) -> None:
        """Process a message with timestamp ``raw_ms``; invalid media is dropped."""
        self.fed, self.fed_bytes = self.fed + 1, self.fed_bytes + len(body)
        is_video = type_id == VIDEO
        dts_ms, is_jump = self.line.place(Track.VIDEO if is_video else Track.AUDIO, self.raw_ms % (1 << 32))
        if is_jump:
            self.planner.interrupt()
        try:
            frame = (parse_video if is_video else parse_audio)(dts_ms, body, 1_700_000_000 + self.raw_ms / 1000)
            if frame is None:
                return
            if frame.is_config:
                parse_config(frame)
            for cut in self.planner.add(frame):
                self.cuts.append(cut)
                self.out += self.segmenter.add_cut(cut)
            self.out += self.segmenter.set_silent(self.planner.activity.silent)
            self.out += self.segmenter.add(frame)
        except MediaError:
            pass

    def leave(self) -> None:
        """The publisher disconnects; the next one continues where its media ended."""
        end_ms = self.planner.finish()
        if end_ms is not None:
            self.out += self.segmenter.finish(end_ms)
        self.line.resume(max(self.line.newest_ms, self.planner.end_ms))


def broadcasts(data: bytes) -> None:
    """
    Any sequence of messages gives valid segments on a consistent time line, in bounded memory.

    Input: segment duration, then operations with their arguments.
    """
    choices = Choices(data)
    broadcast = Broadcast(1 + choices.number() % 6)
    while not choices.at_end and broadcast.fed < MOST_FRAMES:
        _operate(broadcast, choices)
    held, fed = held_bytes((broadcast.planner, broadcast.segmenter)), broadcast.fed_bytes + 1024 * broadcast.fed
    assert held <= (64 << 10) + 2 * fed, f"{held} bytes held of {broadcast.fed} frames"
    broadcast.leave()
    _check_cuts(broadcast)
    _check_times(broadcast)


def _operate(broadcast: Broadcast, choices: Choices) -> None:
    """One operation: arbitrary message, frame, run of frames, configuration, disconnect, or jump of the clock."""
    operation = choices.number() % 8
    broadcast.raw_ms += choices.pick(STEPS_MS)
    if operation == 0:
        type_id, size = choices.pick((VIDEO, AUDIO)), choices.number(2) % 1024
        broadcast.message(type_id, choices.take(size))
    elif operation == 1:
        broadcast.message(VIDEO, _picture(choices.number() & 1 == 1, choices.signed(2)))
    elif operation == 2:
        broadcast.message(AUDIO, _SOUND)
    elif operation == 3:
        broadcast.message(VIDEO, avc_config(choices.pick(RECORDS[Codec.H264])).body)
    elif operation == 4:
        broadcast.message(AUDIO, aac_config(choices.pick(RECORDS[Codec.AAC])).body)
    elif operation == 5:
        broadcast.leave()
    elif operation == 6:
        broadcast.raw_ms += choices.signed(4)
    else:
        _stretch(broadcast, choices)


def _picture(is_key: bool, cts_ms: int) -> bytes:
    return avc_frame(0, cts_ms, is_key, b"\x00\x00\x00\x02\x65\x88").body


_SOUND = aac_frame(0, b"\x21\x10\x04\x60").body


def _stretch(broadcast: Broadcast, choices: Choices) -> None:
    """A run of pictures: their number, interval and key frame interval, with or without audio."""
    count, step_ms, group = choices.number() % 96, choices.number() % 100, choices.number() % 128 + 1
    with_sound = choices.number() & 1
    for index in range(count):
        broadcast.message(VIDEO, _picture(index % group == 0, 0))
        if with_sound:
            broadcast.message(AUDIO, _SOUND)
        broadcast.raw_ms += step_ms


def _check_cuts(broadcast: Broadcast) -> None:
    """Every cut has a segment or gap, in order, within the target duration."""
    segments = [item for item in broadcast.out if not isinstance(item, PackagedInit)]
    assert [segment.cut for segment in segments] == broadcast.cuts
    target_s = broadcast.planner.target_s
    for segment in segments:
        assert target_s is not None and target_s <= MAX_SEGMENT_S + 1
        assert 0 < segment.duration_ms < target_s * 1000 + 500
    for before, after in pairwise(segments):
        assert after.cut.msn == before.cut.msn + 1
        assert after.cut.starts_at_ms >= before.cut.starts_at_ms + before.duration_ms
        assert 0 <= after.cut.discontinuity - before.cut.discontinuity <= 1
        if after.cut.discontinuity == before.cut.discontinuity:
            assert after.cut.pts_ms == before.cut.pts_ms + before.duration_ms
            assert after.cut.tracks >= before.cut.tracks


def _check_times(broadcast: Broadcast) -> None:
    """The boxes of every segment are exact, and decode times of each track rise."""
    ends: dict[int, tuple[int, int, int]] = {}
    inits = -1
    for item in broadcast.out:
        if isinstance(item, PackagedInit):
            assert item.number == inits + 1
            inits = item.number
            _check_header(item.data, b"")
            ends.pop(2, None)  # the sample rate may be another
        elif isinstance(item, PackagedSegment):
            assert inits >= 0
            for track, reads in samples(item.data).items():
                before, last, end = ends.get(track, (item.cut.discontinuity, 0, 0))
                # A new publisher's first picture may cut the last one of the previous publisher short.
                assert reads[0].dts >= (end if before == item.cut.discontinuity else last)
                assert all(read.duration < 1 << 31 for read in reads)
                ends[track] = item.cut.discontinuity, reads[-1].dts, reads[-1].dts + reads[-1].duration
