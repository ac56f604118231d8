"""How pictures of high dynamic range look on screens without it, as a table."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp

PQ, HLG = 16, 18
"""Transfer characteristics (ITU-T H.273, table 3)."""
SRGB_PRIMARIES, BT2020_PRIMARIES, P3_PRIMARIES = 1, 9, 12
"""Colour primaries (ITU-T H.273, table 2)."""
PEAK_NITS = 1000.0
"""The brightest that is told apart: most material is mastered on such a screen, and it is the nominal one of HLG."""
WHITE_NITS = 203.0
"""What a white sheet of paper has (ITU-R BT.2408, table 1), and the white of a screen without high dynamic range."""
SCREEN_GAMMA = 2.4
"""ITU-R BT.1886, annex 1."""

_M1, _M2 = 2610 / 16384, 2523 / 32
_C1, _C2, _C3 = 3424 / 4096, 2413 / 128, 2392 / 128
"""SMPTE ST 2084, 5."""
_HLG_A, _HLG_B, _HLG_C, _HLG_GAMMA = 0.17883277, 0.28466892, 0.55991073, 1.2
"""ITU-R BT.2100, table 5."""
_BT2020_LUMA = 0.2627, 0.6780, 0.0593
_BT709_LUMA = 0.2126, 0.7152, 0.0722
_TO_BT709 = {
    BT2020_PRIMARIES: ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)),
    P3_PRIMARIES: ((1.2249, -0.2247, 0.0), (-0.0420, 1.0419, 0.0), (-0.0197, -0.0786, 1.0979)),
    SRGB_PRIMARIES: ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
}
"""Linear light to that of ITU-R BT.709, by primaries. For BT.2020: ITU-R BT.2087, 4.4."""

Rgb = tuple[float, float, float]


def sdr_table(transfer: int, primaries: int, levels: int) -> Iterator[Rgb]:
    """
    The signal of ITU-R BT.709 for each signal of ``levels`` equal steps from 0 to 1, red changing fastest.

    Highlights are compressed by the brightest component, so that hues stay (ITU-R BT.2390, 5.4); colours that BT.709
    does not have lose saturation. Primaries that are not known count as BT.2020.
    """
    matrix = _TO_BT709[primaries if primaries in _TO_BT709 else BT2020_PRIMARIES]
    lights = [(_pq_nits if transfer == PQ else _hlg_scene)(level / (levels - 1)) for level in range(levels)]
    for blue in lights:
        for green in lights:
            for red in lights:
                light = (red, green, blue) if transfer == PQ else _hlg_nits((red, green, blue))
                yield _sdr_signal(light, matrix)


def is_hdr(transfer: int) -> bool:
    """Whether pictures with these transfer characteristics have a high dynamic range."""
    return transfer in (PQ, HLG)


def _sdr_signal(nits: Rgb, matrix: tuple[Rgb, Rgb, Rgb]) -> Rgb:
    brightest = max(nits)
    if brightest <= 0:
        return 0.0, 0.0, 0.0
    scale = _compressed(brightest) / brightest / WHITE_NITS
    red, green, blue = (_weighted(row, nits) * scale for row in matrix)
    red, green, blue = _in_gamut((red, green, blue))
    return red ** (1 / SCREEN_GAMMA), green ** (1 / SCREEN_GAMMA), blue ** (1 / SCREEN_GAMMA)


def _weighted(weights: Rgb, light: Rgb) -> float:
    return weights[0] * light[0] + weights[1] * light[1] + weights[2] * light[2]


def _compressed(nits: float) -> float:
    """The light of a screen of :data:`WHITE_NITS` (ITU-R BT.2390, 5.4.1, with black at zero)."""
    signal = min(_pq_signal(nits) / _PEAK, 1.0)
    if signal <= _KNEE:
        return nits
    t = (signal - _KNEE) / (1 - _KNEE)
    below = (2 * t**3 - 3 * t**2 + 1) * _KNEE + (t**3 - 2 * t**2 + t) * (1 - _KNEE)
    return _pq_nits((below + (3 * t**2 - 2 * t**3) * _WHITE) * _PEAK)


def _in_gamut(light: Rgb) -> Rgb:
    """The same luminance with as much of the saturation as fits between 0 and 1."""
    luminance = min(_weighted(_BT709_LUMA, light), 1.0)
    kept = 1.0
    for part in light:
        if part < 0:
            kept = min(kept, luminance / (luminance - part))
        elif part > 1:
            kept = min(kept, (1 - luminance) / (part - luminance))
    red, green, blue = (min(max(luminance + (part - luminance) * kept, 0.0), 1.0) for part in light)
    return red, green, blue


def _pq_nits(signal: float) -> float:
    power = signal ** (1 / _M2)
    return float(10_000 * (max(power - _C1, 0.0) / (_C2 - _C3 * power)) ** (1 / _M1))


def _pq_signal(nits: float) -> float:
    power = (nits / 10_000) ** _M1
    return float(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def _hlg_scene(signal: float) -> float:
    return signal**2 / 3 if signal <= 0.5 else (exp((signal - _HLG_C) / _HLG_A) + _HLG_B) / 12


def _hlg_nits(scene: Rgb) -> Rgb:
    scale = PEAK_NITS * _weighted(_BT2020_LUMA, scene) ** (_HLG_GAMMA - 1)
    red, green, blue = scene
    return red * scale, green * scale, blue * scale


_PEAK = _pq_signal(PEAK_NITS)
_WHITE = _pq_signal(WHITE_NITS) / _PEAK
_KNEE = 1.5 * _WHITE - 0.5
