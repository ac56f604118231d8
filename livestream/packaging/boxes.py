"""ISO base media file format boxes (ISO/IEC 14496-12) as bytes."""

from __future__ import annotations

from struct import pack

MATRIX = pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box of ``kind`` with ``parts`` as its content."""
    content = b"".join(parts)
    return pack(">I4s", len(content) + 8, kind) + content


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """A box with a version and flags."""
    return box(kind, pack(">I", version << 24 | flags), *parts)
