"""Key frames that are repeated, as frames that need nothing of what was decoded before, and say so."""

from __future__ import annotations

import re
from functools import lru_cache

from attrs import evolve, frozen

from livestream.media.annexb import units_of
from livestream.media.bits import BitReader, without_emulation
from livestream.media.codecs import VideoConfig, avc_sets
from livestream.media.errors import MediaError
from livestream.media.pictures import PREFIX_BYTES, AvcSequence, avc_sequence
from livestream.model.frames import Codec, Frame

_SLICE, _IDR = 1, 5
_I_SLICES = (2, 7)
_HEADER_BYTES = 64
"""A slice header of an I slice ends before this."""
_EMULATED = re.compile(rb"\x00\x00(?=[\x00-\x03])")
_MAX_MARKINGS = 32
FEW_ZEROS = 64
"""Data of CABAC has two zeros in a row far more rarely than once in so many bytes; each of them takes time."""


def standalone(key: Frame, config: VideoConfig) -> Frame:
    """
    A key frame of H.264 as one that begins a sequence; the same frame if it does, or cannot.

    A recovery point of an open GOP is a picture among others: repeated, it is a second one with the same number. Its
    slices become those of an IDR picture (ITU-T H.264, 7.3.3 and 7.4.1.2.4), which is possible with CABAC, where the
    data after the slice header is aligned to bytes.
    """
    if key.codec is not Codec.H264:
        return key
    try:
        sets = _picture_sets(config.record)
        units = list(units_of(key.body, key.data_offset))
        rewritten = [_idr(unit, sets) for unit in units]
    except MediaError:
        return key
    if rewritten == units:
        return key
    data = b"".join(len(unit).to_bytes(4, "big") + unit for unit in rewritten)
    return evolve(key, body=key.body[: key.data_offset] + data)


@frozen
class _PictureSet:
    """What a slice header depends on, of a picture parameter set and its sequence parameter set."""

    sequence: AvcSequence
    is_cabac: bool
    has_field_order: bool
    has_deblocking: bool
    has_redundant_count: bool


@lru_cache(16)
def _picture_sets(record: bytes) -> dict[int, _PictureSet]:
    """The parameter sets of an AVC configuration by their id."""
    sequences = {each.number: each for each in map(avc_sequence, avc_sets(record, 7))}
    found: dict[int, _PictureSet] = {}
    for unit in avc_sets(record, 8):
        bits = BitReader(without_emulation(unit[1:PREFIX_BYTES]))
        number, sequence = bits.ue(), sequences.get(bits.ue())
        is_cabac, has_field_order = bits.flag(), bits.flag()
        if sequence is None or bits.ue():
            continue
        bits.ue(), bits.ue()
        bits.bits(3)
        bits.se(), bits.se(), bits.se()
        has_deblocking, _, has_redundant_count = bits.flag(), bits.flag(), bits.flag()
        found[number] = _PictureSet(sequence, is_cabac, has_field_order, has_deblocking, has_redundant_count)
    return found


def _idr(unit: bytes, sets: dict[int, _PictureSet]) -> bytes:
    """
    A slice as that of an IDR picture; any other unit as it is.

    :raises MediaError: it cannot be one.
    """
    if unit[0] & 31 != _SLICE:
        return unit
    payload = without_emulation(unit[1:])
    bits = BitReader(payload[:_HEADER_BYTES])
    first, kind, number = bits.ue(), bits.ue(), bits.ue()
    picture = sets.get(number)
    if picture is None or not picture.is_cabac or kind not in _I_SLICES:
        raise MediaError("a slice that cannot be one of an IDR picture")
    header = _ue(first) + _ue(kind) + _ue(number) + _order(bits, picture)
    if unit[0] & 0x60:
        _skip_marking(bits)
    header += "00" + _se(bits.se())
    if picture.has_deblocking:
        filtering = bits.ue()
        header += _ue(filtering)
        if filtering != 1:
            header += _se(bits.se()) + _se(bits.se())
    header += "1" * (-len(header) % 8)
    data = payload[-(-bits.position // 8) :].rstrip(b"\x00")
    encoded = int(header, 2).to_bytes(len(header) // 8, "big") + data
    if encoded.count(b"\x00\x00") > len(encoded) // FEW_ZEROS + FEW_ZEROS:
        raise MediaError("a slice of zeros, which no encoder makes")
    return bytes([0x60 | _IDR]) + _EMULATED.sub(b"\x00\x00\x03", encoded)


def _order(bits: BitReader, picture: _PictureSet) -> str:
    """The part of a slice header with the number and the order of the picture, as that of an IDR picture."""
    sequence = picture.sequence
    bits.bits(sequence.frame_number_bits)
    header = "0" * sequence.frame_number_bits
    if not sequence.has_frames_only:
        if bits.flag():
            raise MediaError("a field")
        header += "0"
    header += _ue(0)
    if sequence.order_type == 0:
        bits.bits(sequence.order_bits)
        header += "0" * sequence.order_bits
    if sequence.order_type == 0 and picture.has_field_order:
        header += _se(bits.se())
    if sequence.order_type == 1 and not sequence.has_fixed_order:
        header += _se(bits.se())
        if picture.has_field_order:
            header += _se(bits.se())
    if picture.has_redundant_count:
        header += _ue(bits.ue())
    return header


def _skip_marking(bits: BitReader) -> None:
    """Skip what a picture says of those before it (ITU-T H.264, 7.3.3.3)."""
    if not bits.flag():
        return
    for _ in range(_MAX_MARKINGS):
        operation = bits.ue()
        if not operation:
            return
        for _ in range({1: 1, 2: 1, 3: 2, 4: 1, 6: 1}.get(operation, 0)):
            bits.ue()
    raise MediaError("a slice header with too many memory management operations")


def _ue(number: int) -> str:
    digits = f"{number + 1:b}"
    return "0" * (len(digits) - 1) + digits


def _se(number: int) -> str:
    return _ue(2 * number - 1 if number > 0 else -2 * number)
