"""Parameter sets written bit by bit, for pictures that no encoder here makes, or makes only slowly."""


def h264_sps(
    width: int,
    height: int,
    *,
    shown: tuple[int, int] | None = None,
    references: int = 1,
    depth: int = 8,
    fields: int = 1,
    vui: str = "0",
) -> bytes:
    """With its NAL header; ``shown`` is what the crop leaves, of 4:2:0; ``vui`` are the bits that follow it."""
    wide, high = -(-width // 16) or 1, -(-height // (16 * fields))
    shown_width, shown_height = shown or (width, height)
    crop = (0, (wide * 16 - shown_width) // 2, 0, (high * 16 - shown_height // fields) // 2)
    head = _ue(0) if depth == 8 else f"{_ue(0)}{_ue(1)}{_ue(depth - 8)}{_ue(depth - 8)}00"
    bits = head + "".join(map(_ue, (0, 0, 0, references)))
    bits += f"0{_ue(wide - 1)}{_ue(high - 1)}{'11' if fields == 1 else '001'}1{''.join(map(_ue, crop))}{vui}"
    profile = b"\x42\xc0\x1e" if depth == 8 else b"\x6e\x00\x1e"
    return b"\x67" + _escaped(profile + _bytes(bits))


def hevc_sps(width: int, height: int, shown: tuple[int, int], *, references: int = 1, depth: int = 8) -> bytes:
    """With its NAL header, of the Main profile and one temporal layer."""
    crop = (0, (width - shown[0]) // 2, 0, (height - shown[1]) // 2)
    bits = "00000001" + f"{1:088b}" + f"{93:08b}" + _ue(0) + _ue(1) + _ue(width) + _ue(height)
    bits += "1" + "".join(map(_ue, (*crop, depth - 8, depth - 8, 4))) + "1" + "".join(map(_ue, (references, 0, 0)))
    return b"\x42\x01" + _escaped(_bytes(bits))


def av1_header(width: int, height: int) -> bytes:
    """A sequence header OBU of a still picture."""
    bits = "000110000011111111" + f"{width - 1:016b}{height - 1:016b}"
    data = _bytes(bits)
    return bytes([1 << 3 | 2, len(data)]) + data


def avc_record(*sets: bytes, pps: bytes = b"\x68\xce\x3c\x80") -> bytes:
    """An AVCDecoderConfigurationRecord."""
    units = b"".join(len(unit).to_bytes(2, "big") + unit for unit in sets)
    return b"\1\x42\xc0\x1e\xff" + bytes([0xE0 | len(sets)]) + units + b"\1" + len(pps).to_bytes(2, "big") + pps


def hevc_record(*sets: bytes) -> bytes:
    """An HEVCDecoderConfigurationRecord with these units as its sequence parameter sets."""
    units = b"".join(len(unit).to_bytes(2, "big") + unit for unit in sets)
    return b"\1\1" + bytes(10) + b"\x5d" + bytes(8) + b"\x0f\1\x21" + len(sets).to_bytes(2, "big") + units


def prefixed(*units: bytes) -> bytes:
    """Units behind their lengths."""
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def _escaped(data: bytes) -> bytes:
    """With emulation prevention bytes (ITU-T H.264, 7.4.1)."""
    found, zeros = bytearray(), 0
    for byte in data:
        if zeros >= 2 and byte <= 3:
            found.append(3)
            zeros = 0
        found.append(byte)
        zeros = 0 if byte else zeros + 1
    return bytes(found)


def _bytes(bits: str) -> bytes:
    bits += "1" + "0" * (-(len(bits) + 1) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _ue(number: int) -> str:
    digits = f"{number + 1:b}"
    return "0" * (len(digits) - 1) + digits
