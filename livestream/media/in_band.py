"""Decoder configurations that come within the pictures, beside or instead of those that precede them."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from livestream.media.annexb import units_of
from livestream.media.codecs import VideoConfig, parse_config
from livestream.media.errors import MediaError
from livestream.media.flv import configuration
from livestream.media.parameter_sets import ParameterSets, first_sequence_header
from livestream.media.pictures import UNKNOWN, PictureFormat, avc_format, hevc_format
from livestream.model.frames import Codec, Frame

_AVC_SETS, _AVC_SLICES = (7, 8), range(1, 6)
_HEVC_SETS, _HEVC_SLICES = (32, 33, 34), range(32)
_WITH_FORMAT = (100, 110, 122, 144)
"""The profiles whose record also has the format (ISO/IEC 14496-15, 5.3.3.1.2)."""
_MAX_SET = 4096
"""No parameter set of an encoder is as long."""


@define(eq=False)
class InBandParameters:
    """
    The configuration of one video track, as its pictures have it.

    A record without all parameter sets is completed from the first key frame that has them, and so is a missing one;
    where the pictures of a key frame have another format than the record, there is a new one. If the encoder then
    repeats its record, the parameter sets of the key frame after it decide, or it is meant, if there are none.
    """

    sets: ParameterSets
    is_configured: bool = field(default=False, init=False)
    """Whether there has been a complete configuration."""
    nal_bytes: int = field(default=4, init=False)
    """The length of the NAL lengths in the frames, as the record says it."""
    _has_replaced: bool = field(default=False, init=False)
    """Whether the record that is used is made from the pictures."""
    has_changed: bool = field(default=False, init=False)
    """Whether the key frame given last has another size than the one before, which its record cannot say (VP9)."""
    _codec: Codec | None = field(default=None, init=False)
    _record: bytes = field(default=b"", init=False)
    _given: bytes = field(default=b"", init=False)
    """The record that the encoder sent last."""
    _repeated: Frame | None = field(default=None, init=False)
    """A repetition of it, after the pictures had another format."""
    _format: PictureFormat | None = field(default=None, init=False)
    _units: dict[int, list[bytes]] = field(factory=dict, init=False)
    """The parameter sets of the record, by NAL type."""

    def configure(self, frame: Frame) -> Frame | None:
        """
        Take a configuration; return it as it is to be used, or ``None`` if it waits for a key frame to be complete.

        :raises MediaError: it is malformed.
        """
        given = bytes(frame.data)
        if given == self._given and self._has_replaced:
            self._repeated = frame
            return None
        before = self.is_configured, self.nal_bytes, self._codec, self._units, self._record, self._format
        try:
            used = self._configure(frame)
        except MediaError:
            self.is_configured, self.nal_bytes, self._codec, self._units, self._record, self._format = before
            raise
        self._given, self._has_replaced = given, False
        return used

    def _configure(self, frame: Frame) -> Frame | None:
        record = bytes(frame.data)
        self._codec, self._units = frame.codec, {}
        if frame.codec is Codec.H264:
            record = self._avc(record)
        elif frame.codec is Codec.HEVC:
            record = self._hevc(record)
        if not record:
            return None
        return self._use(frame if record == frame.data else configuration(frame.codec, record))

    def before(self, frame: Frame) -> Frame | None:
        """
        The configuration that has to precede a key frame, if it is another one than before.

        :raises MediaError: its parameter sets are malformed.
        """
        pictures = self.sets.before_slices(frame)
        self.has_changed = False
        repeated, self._repeated = self._repeated, None
        if pictures is None and repeated is not None:
            self._has_replaced = False
            return self.configure(repeated)
        if frame.codec is Codec.VP9 and pictures is not None:
            self.has_changed = self._format not in (None, UNKNOWN, pictures)
            self._format = pictures
            return None
        if pictures is None or (self.is_configured and not self._differs(frame, pictures)):
            return None
        record = self._from_pictures(frame)
        if record is None:
            return None
        self._has_replaced = True
        return self._use(configuration(frame.codec, record))

    def restart(self) -> None:
        """Another publisher follows, with its own configuration."""
        self.is_configured, self.nal_bytes, self._codec, self._format = False, 4, None, None
        self._units, self._given, self._repeated, self._has_replaced = {}, b"", None, False

    def _use(self, frame: Frame) -> Frame:
        config = parse_config(frame)
        assert isinstance(config, VideoConfig)
        self.is_configured, self._codec, self._format = True, frame.codec, config.pictures
        self._record = bytes(frame.data)
        return frame

    def _differs(self, frame: Frame, pictures: PictureFormat) -> bool:
        """Whether a key frame has other pictures than the configuration, as a player would notice."""
        known = self._format
        if frame.codec is not self._codec or known is None:
            return frame.codec is self._codec
        return _shape(pictures) != _shape(known)

    def _avc(self, record: bytes) -> bytes:
        """The record with NAL lengths of four bytes; empty if it lacks a parameter set."""
        if len(record) < 7 or record[0] != 1:
            raise MediaError("an AVC configuration of an unknown version")
        self.nal_bytes = (record[4] & 3) + 1
        at = 5
        for kind, mask in zip(_AVC_SETS, (31, 255), strict=True):
            count, at = record[at] & mask if at < len(record) else 0, at + 1
            self._units[kind] = []
            for _ in range(count):
                size, at = int.from_bytes(record[at : at + 2], "big"), at + 2
                if size:
                    self._units[kind].append(record[at : at + size])
                at += size
        if not all(self._units.values()):
            self.is_configured = False
            return b""
        return record[:4] + bytes([record[4] | 3]) + record[5:]

    def _hevc(self, record: bytes) -> bytes:
        """The same for an HEVC record."""
        if len(record) < 23 or record[0] != 1:
            raise MediaError("an HEVC configuration of an unknown version")
        self.nal_bytes = (record[21] & 3) + 1
        at = 23
        for _ in range(record[22]):
            kind = record[at] & 63 if at < len(record) else 0
            count, at = int.from_bytes(record[at + 1 : at + 3], "big"), at + 3
            for _ in range(min(count, 64)):
                size, at = int.from_bytes(record[at : at + 2], "big"), at + 2
                self._units.setdefault(kind, []).append(record[at : at + size])
                at += size
        if not all(self._units.get(kind) for kind in _HEVC_SETS):
            self._record, self.is_configured = record, False
            return b""
        return record[:21] + bytes([record[21] | 3]) + record[22:]

    def _from_pictures(self, frame: Frame) -> bytes | None:
        """A record with the parameter sets of a key frame, and those of the last record that it does not have."""
        if frame.codec is Codec.AV1:
            header = first_sequence_header(frame)
            return None if header is None or not self._record else self._record[:4] + header
        avc = frame.codec is Codec.H264
        found = _sets_of(frame, *((_AVC_SETS, _AVC_SLICES) if avc else (_HEVC_SETS, _HEVC_SLICES)), avc=avc)
        wanted = _AVC_SETS if avc else _HEVC_SETS
        units = {kind: found.get(kind) or self._units.get(kind, []) for kind in wanted}
        if not all(units.values()):
            return None
        self._units = units
        return _avc_record(units) if avc else _hevc_record(units)


def _shape(pictures: PictureFormat) -> tuple[object, ...]:
    """What a player has to know before it shows a picture."""
    size = pictures.width, pictures.height, pictures.sample_aspect
    return *size, pictures.chroma, pictures.depth, pictures.colour


def _sets_of(frame: Frame, sets: Sequence[int], slices: Sequence[int], *, avc: bool) -> dict[int, list[bytes]]:
    """The parameter sets before the first slice of a frame, by NAL type, each once."""
    found: dict[int, list[bytes]] = {}
    for unit in units_of(frame.body, frame.data_offset):
        kind = unit[0] & 31 if avc else unit[0] >> 1 & 63
        if kind in slices:
            break
        if kind in sets and len(unit) <= _MAX_SET and unit not in found.setdefault(kind, []):
            found[kind].append(unit)
    return found


def _avc_record(units: dict[int, list[bytes]]) -> bytes:
    """ISO/IEC 14496-15, 5.3.3.1."""
    sps, pps = (units[kind] for kind in _AVC_SETS)
    if len(sps[0]) < 4:
        raise MediaError("a sequence parameter set is cut short")
    record = b"\x01" + sps[0][1:4] + b"\xff" + bytes([0xE0 | len(sps[:31])]) + _sized(sps[:31])
    record += bytes([len(pps[:255])]) + _sized(pps[:255])
    if sps[0][1] in _WITH_FORMAT:
        pictures = avc_format(sps[0])
        depth = 0xF8 | (pictures.depth - 8) & 7
        record += bytes([0xFC | pictures.chroma & 3, depth, depth, 0])
    return record


def _hevc_record(units: dict[int, list[bytes]]) -> bytes:
    """ISO/IEC 14496-15, 8.3.3.1; the general profile, tier and level are those of the sequence parameter set."""
    plain = units[33][0].replace(b"\x00\x00\x03", b"\x00\x00")
    if len(plain) < 15:
        raise MediaError("a sequence parameter set is cut short")
    pictures = hevc_format(units[33][0])
    head = b"\x01" + plain[3:15] + b"\xf0\x00\xfc" + bytes([0xFC | pictures.chroma])
    head += bytes([0xF8 | pictures.depth - 8]) * 2 + b"\x00\x00\x0f" + bytes([len(_HEVC_SETS)])
    arrays = (bytes([0x80 | kind]) + len(units[kind]).to_bytes(2, "big") + _sized(units[kind]) for kind in _HEVC_SETS)
    return head + b"".join(arrays)


def _sized(units: Sequence[bytes]) -> bytes:
    return b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)
