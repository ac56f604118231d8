"""A moving test card: bars, a clock and a square that crosses the picture once in four seconds."""

from __future__ import annotations

from collections.abc import Iterator

from av.video.frame import VideoFrame

WIDTH, HEIGHT, FPS = 1280, 720, 30
_BARS = ((180, 128, 128), (162, 44, 142), (131, 156, 44), (112, 72, 58), (84, 184, 198), (65, 100, 212), (35, 212, 114))
_FONT = {
    "0": (7, 5, 5, 5, 7),
    "1": (2, 6, 2, 2, 7),
    "2": (7, 1, 7, 4, 7),
    "3": (7, 1, 7, 1, 7),
    "4": (5, 5, 7, 1, 1),
    "5": (7, 4, 7, 1, 7),
    "6": (7, 4, 7, 5, 7),
    "7": (7, 1, 1, 1, 1),
    "8": (7, 5, 7, 5, 7),
    "9": (7, 5, 7, 1, 7),
    ":": (0, 2, 0, 2, 0),
    ".": (0, 0, 0, 0, 2),
}
_DOT, _TEXT_TOP = 24, 240
_SQUARE, _SQUARE_TOP = 80, 560
_BLACK, _WHITE = 16, 235


def picture(number: int, clock: str) -> VideoFrame:
    """Draw picture ``number``, with a clock of up to twelve digits, colons and points."""
    frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
    for index, plane in enumerate(frame.planes):
        across, down = (WIDTH, HEIGHT) if index == 0 else (WIDTH // 2, HEIGHT // 2)
        row = b"".join(bytes([bar[index]]) * (across // len(_BARS) + 1) for bar in _BARS)[:across]
        lines = [row.ljust(plane.line_size, b"\x00")] * down
        for top, height, strip in _overlays(number, clock, row, index):
            lines[top : top + height] = [strip.ljust(plane.line_size, b"\x00")] * height
        plane.update(b"".join(lines))
    return frame


def _overlays(number: int, clock: str, row: bytes, index: int) -> Iterator[tuple[int, int, bytes]]:
    """Strips of identical lines: the first line, the number of lines, and the line's content."""
    half = 1 if index == 0 else 2
    across = len(row)
    left = number * (WIDTH - _SQUARE) // (4 * FPS) % (WIDTH - _SQUARE) // 2 * 2 // half
    strip = bytearray(row)
    strip[left : left + _SQUARE // half] = bytes([_WHITE if index == 0 else 128]) * (_SQUARE // half)
    yield _SQUARE_TOP // half, _SQUARE // half, bytes(strip)
    if index:
        yield (_TEXT_TOP - _DOT) // half, 7 * _DOT // half, bytes([128]) * across
        return
    yield _TEXT_TOP - _DOT, 7 * _DOT, bytes([_BLACK]) * across
    for line in range(5):
        dots = "".join(f"{_FONT[sign][line]:03b}0" for sign in clock)[:-1]
        text = b"".join(bytes([_WHITE if dot == "1" else _BLACK]) * _DOT for dot in dots)
        yield _TEXT_TOP + line * _DOT, _DOT, text.center(across, bytes([_BLACK]))[:across]
