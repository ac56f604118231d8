"""Synthetic broadcasts, and what an ingest does with them: one planner, the source, and a rung behind a transcoder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import define, field

from livestream.media.flv import aac_config, aac_frame, avc_config, avc_frame
from livestream.model.frames import Codec, Frame, Track
from livestream.model.names import SOURCE
from livestream.packaging.cuts import CUT_TOLERANCE_MS, Cut, CutPlanner, SourceMode
from livestream.packaging.rates import FrameRateMeter
from livestream.packaging.segmenter import Packaged, PackagedInit, Segmenter

RECORD = bytes.fromhex("0142c00bffe1001667 42c00bda0a36840000030004000003 00c83c50aa80 0100 0468ce0fc8")
OTHER_RECORD = RECORD[:-4] + b"\x68\xce\x0f\xc9"
ASC, OTHER_ASC = b"\x11\x90", b"\x12\x10"
SECOND = 1_000


def picture(pts_ms: int, is_key: bool = False, dts_ms: int | None = None) -> Frame:
    dts_ms = pts_ms if dts_ms is None else dts_ms
    return avc_frame(dts_ms, pts_ms - dts_ms, is_key, b"\x00\x00\x00\x08" + pts_ms.to_bytes(8, "big"))


def sound(pts_ms: int) -> Frame:
    return aac_frame(pts_ms, b"\x21" + pts_ms.to_bytes(8, "big"))


def pictures(start_ms: int, end_ms: int, keys_ms: Iterable[int] | int, step_ms: int = 40) -> list[Frame]:
    """Pictures at a steady rate; ``keys_ms`` are the key frames, or the time between them."""
    keys = range(start_ms, end_ms, keys_ms) if isinstance(keys_ms, int) else set(keys_ms)
    return [picture(ms, ms in keys) for ms in range(start_ms, end_ms, step_ms)]


def with_b_frames(start_ms: int, groups: int, gop: int, step_ms: int = 40) -> list[Frame]:
    """Groups of one key frame and threes of P, b, b, in decoding order; decoded two steps before they are shown."""
    frames, dts_ms = [], start_ms
    for group in range(groups):
        first = start_ms + 2 * step_ms + group * gop * step_ms
        order = [0]
        for index in range(3, gop, 3):
            order += [index, index - 2, index - 1]
        order += range(order[-1 if len(order) == 1 else -3] + 1, gop)
        for index in order:
            frames.append(picture(first + index * step_ms, index == 0, dts_ms))
            dts_ms += step_ms
    return frames


def sounds(start_ms: int, end_ms: int) -> list[Frame]:
    """AAC frames at 48 kHz, their times rounded to milliseconds as RTMP does."""
    count = (end_ms - start_ms) * 48 // 1024
    return [sound(start_ms + index * 1024 // 48) for index in range(count)]


def mixed(*tracks: Sequence[Frame]) -> list[Frame]:
    """Tracks in the order in which an encoder sends them, their configurations first."""
    configs = [avc_config(RECORD) if t[0].track is Track.VIDEO else aac_config(ASC) for t in tracks if t]
    return configs + sorted((frame for track in tracks for frame in track), key=lambda frame: frame.dts_ms)


@define(eq=False)
class Ingest:
    """
    Feeds a planner, the source's segmenter and that of a rung, whose pictures are ``lag`` pictures late.

    In the mode ENCODE the source's segmenter gets those too.
    """

    planner: CutPlanner = field(factory=lambda: CutPlanner(3, 100, 5))
    lag: int = 3
    source: Segmenter = field(init=False)
    rung: Segmenter = field(init=False)
    frame_rate: FrameRateMeter = field(factory=FrameRateMeter)
    out: dict[str, list[Packaged]] = field(factory=lambda: {SOURCE: [], "360p": []})
    cuts: list[Cut] = field(factory=list)
    in_transcoder: list[Frame] = field(factory=list)
    cuts_due: list[int] = field(factory=list)
    transcoded_ms: int = -1

    def __attrs_post_init__(self) -> None:
        self.source = Segmenter(SOURCE, self.planner.mode is SourceMode.PASS, frame_rate=self.frame_rate)
        self.rung = Segmenter("360p", False, frame_rate=self.frame_rate)

    def feed(self, frames: Iterable[Frame]) -> Ingest:
        for frame in frames:
            self._cut(self.planner.add(frame))
            for segmenter in (self.source, self.rung):
                if segmenter.silent != self.planner.activity.silent:
                    self.out[segmenter.name] += segmenter.set_silent(self.planner.activity.silent)
            if self.source.is_passed:
                self.out[SOURCE] += self.source.add(frame)
            for segmenter in self._transcoded():
                if frame.is_config and frame.track is Track.VIDEO:
                    self._drain(0)
                    segmenter.add(frame if frame.codec is Codec.H264 else avc_config(RECORD))
                elif frame.track is Track.AUDIO:
                    self.out[segmenter.name] += segmenter.add(frame)
            if frame.track is Track.VIDEO and not frame.is_config:
                self.frame_rate.add(frame.dts_ms)
                self.in_transcoder.append(frame)
                self._drain(self.lag)
        return self

    def finish(self) -> Ingest:
        self._drain(0)
        end_ms = self.planner.finish()
        if end_ms is not None:
            for segmenter in (self.source, self.rung):
                self.out[segmenter.name] += segmenter.finish(end_ms)
        return self

    def absence(self, length_ms: int) -> Ingest:
        """The publisher stays away for so long."""
        self._cut([self.planner.absence(length_ms)])
        for segmenter in (self.source, self.rung):
            self.out[segmenter.name] += segmenter.finish(self.planner.end_ms)
        return self

    def _cut(self, cuts: Sequence[Cut]) -> None:
        for cut in cuts:
            self.cuts.append(cut)
            self.cuts_due.append(cut.pts_ms)
            for segmenter in (self.source, self.rung):
                self.out[segmenter.name] += segmenter.add_cut(cut)

    def _transcoded(self) -> list[Segmenter]:
        return [self.rung] if self.source.is_passed else [self.source, self.rung]

    def _drain(self, left: int) -> None:
        self.in_transcoder.sort(key=lambda frame: frame.pts_ms)
        while len(self.in_transcoder) > left:
            pts_ms = self.in_transcoder.pop(0).pts_ms
            if pts_ms > self.transcoded_ms:
                due = [ms for ms in self.cuts_due if ms <= pts_ms + CUT_TOLERANCE_MS]
                self.cuts_due = self.cuts_due[len(due) :]
                for segmenter in self._transcoded():
                    self.out[segmenter.name] += segmenter.add(picture(pts_ms, bool(due)))
                self.transcoded_ms = pts_ms

    def segments(self, name: str = SOURCE) -> list[Any]:
        return [item for item in self.out[name] if not isinstance(item, PackagedInit)]

    def inits(self, name: str = SOURCE) -> list[PackagedInit]:
        return [item for item in self.out[name] if isinstance(item, PackagedInit)]

    def durations(self, name: str = SOURCE) -> list[int]:
        return [segment.duration_ms for segment in self.segments(name)]
