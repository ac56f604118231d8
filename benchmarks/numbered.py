"""Pictures that carry their number, as black and white blocks in the upper left corner which survive an encoder."""

from __future__ import annotations

import random
from fractions import Fraction

import av

WIDTH, HEIGHT, FPS = 1280, 720, 30
BLOCK, NUMBER_BITS, BLOCKS = 32, 12, 16
"""Twelve blocks have the number, the rest a sum that tells when it was read wrongly."""
NUMBERS = 1 << NUMBER_BITS
BLACK, WHITE = 16, 235


def blocks(number: int) -> bytes:
    """One line of the blocks that say a number."""
    word = number << (BLOCKS - NUMBER_BITS) | check(number)
    return b"".join(bytes([WHITE if word >> bit & 1 else BLACK]) * BLOCK for bit in reversed(range(BLOCKS)))


def check(number: int) -> int:
    return (number ^ number >> 4 ^ number >> 8 ^ 0b1010) & 0b1111


def number_of(picture: av.VideoFrame) -> int | None:
    """The number that a picture says, from the middle of each block."""
    plane = picture.planes[0]
    luma, line = memoryview(plane), BLOCK // 2 * plane.line_size
    word = 0
    for index in range(BLOCKS):
        word = word << 1 | (luma[line + index * BLOCK + BLOCK // 2] > (BLACK + WHITE) // 2)
    number = word >> (BLOCKS - NUMBER_BITS)
    return number if word & 0b1111 == check(number) else None


def backgrounds() -> list[bytes]:
    """Noise, so that the encoder uses the bits that it may."""
    dice, grey = random.Random(1), bytes(96 + value // 8 for value in range(256))
    return [dice.randbytes(WIDTH * HEIGHT).translate(grey) for _ in range(8)]


def drawn(number: int, background: bytes) -> av.VideoFrame:
    luma, line = bytearray(background), blocks(number)
    for start in range(0, BLOCK * WIDTH, WIDTH):
        luma[start : start + len(line)] = line
    picture = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    picture.planes[0].update(bytes(luma))
    for plane in picture.planes[1:]:
        plane.update(b"\x80" * plane.buffer_size)
    picture.pts, picture.time_base = number, Fraction(1, FPS)
    return picture
