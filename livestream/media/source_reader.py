"""Reads a publisher's messages: as frames, on the timeline of the broadcast."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from math import inf

from attrs import define, evolve, field

from livestream.media.adts import has_adts, split_adts
from livestream.media.codecs import AudioConfig, parse_config, with_standard_layout
from livestream.media.errors import MediaError, NotCarried, OversizedPicture, UnsupportedCodec, UnsupportedLayout
from livestream.media.flv import (
    MULTITRACK_HEADS,
    aac_config,
    aac_frame,
    further_text,
    further_track,
    parse_audio,
    parse_video,
    set_composition,
)
from livestream.media.flv import VIDEO as VIDEO_TAG
from livestream.media.in_band import InBandParameters
from livestream.media.left_out import LeftOut, NotServed, Reason
from livestream.media.other_audio import OtherAudio, other_audio
from livestream.media.parameter_sets import ParameterSets
from livestream.media.presentation_times import PresentationTimes, is_b_frame
from livestream.media.timeline import Timeline
from livestream.model.frames import AUDIO, VIDEO, Codec, Frame, Track

MAX_HELD = 8
"""How many frames of a track may wait until it is known which of their timestamps are right."""
AGREEING_MS = 10_000
"""A timestamp that follows another within this time agrees with it."""
REMEMBERED = 24
"""No two pictures of so many in a row have the same presentation time."""
CONFIRMING = 8
"""A track is one of an unsupported codec after so many messages of it, and none of a codec that can be served."""
BESIDE_VIDEO = 50
"""Video has so many messages of unsupported audio to appear; then the audio is left out beside it."""
CONFIGURED_WITHIN_S = 2.0
"""Media of a track is left out, and its configuration missing, if that does not arrive for this long."""
WRAP = 1 << 32


@define(eq=False)
class _Track:
    """What is known of one track of the current publisher."""

    track: Track
    multitrack_heads: frozenset[int] = field(init=False)
    held: list[tuple[Frame, int]] = field(factory=list)
    """Frames with sudden timestamps, which are not believed yet."""
    newest_ms: int = -1
    """The decoding time of its newest frame."""
    is_configured: bool = False
    unconfigured_since: float | None = None
    """When its first media arrived without a configuration; infinite once its publisher has been told."""
    unsupported: int = 0
    """How many messages of an unsupported codec it had."""

    def __attrs_post_init__(self) -> None:
        self.multitrack_heads = MULTITRACK_HEADS[self.track]

    def restart(self) -> None:
        self.held.clear()
        self.is_configured, self.unconfigured_since, self.unsupported = False, None, 0


@define(eq=False)
class SourceReader:
    """
    Parses messages, and places those with media on the timeline; nothing else moves it.

    A timestamp that jumps is believed when the next one of its track agrees with it; until then its frame is held. If
    the next one continues from before it, it was an error, and its frame is placed in between. Decoding times of video
    rise, and no two of its frames have the same presentation time.

    With ``converts_audio`` audio that HLS cannot carry is read as `Codec.OTHER_AUDIO`; otherwise it is left out.
    """

    converts_audio: bool = False
    timeline: Timeline = field(factory=Timeline)
    sets: ParameterSets = field(factory=ParameterSets)
    left_out: list[LeftOut] = field(factory=list, init=False)
    """What the messages had that is left out, for the caller to take; the same things again and again."""
    changed_at: Frame | None = field(default=None, init=False)
    """The newest key frame whose pictures have another size than before, without another configuration."""
    jumped_at: Frame | None = field(default=None, init=False)
    """The one of the frames that :meth:`read` returned last right before which the clock has jumped."""
    _video: _Track = field(factory=lambda: _Track(VIDEO), init=False)
    _audio: _Track = field(factory=lambda: _Track(AUDIO), init=False)
    _in_band: InBandParameters = field(init=False)
    _adts: bytes = field(default=b"", init=False)
    """What the newest ADTS header describes."""
    _adts_ms: int = field(default=21, init=False)
    _other: OtherAudio | None = field(default=None, init=False)
    """What the audio is, if it has to be converted."""
    _others: int = field(default=0, init=False)
    """How many messages in a row had audio that has to be converted."""
    _previous_stamp: int = field(default=0, init=False)
    _presentation: PresentationTimes | None = field(default=None, init=False)
    """Set once the publisher's timestamps of video are found to be presentation times."""
    _shown: deque[int] = field(factory=lambda: deque(maxlen=REMEMBERED), init=False)

    def __attrs_post_init__(self) -> None:
        self._in_band = InBandParameters(self.sets)

    def read(self, type_id: int, timestamp_ms: int, body: bytes, arrived: float) -> Sequence[Frame]:
        """
        Read one audio or video message; ``timestamp_ms`` is modulo 2^32.

        :raises UnsupportedCodec: it cannot be served; the message is for the broadcaster.
        :raises MediaError: it is malformed.
        """
        self.jumped_at = None
        is_video = type_id == VIDEO_TAG
        own = self._video if is_video else self._audio
        try:
            frame = (
                parse_video(0, body, arrived, self._in_band.nal_bytes) if is_video else parse_audio(0, body, arrived)
            )
            if frame is None:
                return ()
            if body[0] in own.multitrack_heads:
                self._note_further_track(own, body)
            if frame.is_config:
                return self._configure(own, frame)
            if not is_video and frame.codec is Codec.AAC and has_adts(frame.data):
                return self._unwrapped(own, frame, timestamp_ms)
            if not is_video:
                self._others = 0
                if self._other is not None:
                    frame = self._as_other(self._other, frame)
        except (NotServed, UnsupportedCodec) as error:
            other = other_audio(body, arrived) if self.converts_audio and not is_video else None
            if other is not None and self._is_confirmed(own):
                return self._to_convert(own, *other, timestamp_ms)
            self._leave_out(own, error)
            return ()
        if is_video:
            if frame.is_key and (config := self._in_band.before(frame)) is not None:
                return [*self._configured(own, config), *self._media(own, frame, timestamp_ms)]
            if frame.is_key and self._in_band.has_changed:
                self.changed_at = frame
        return self._media(own, frame, timestamp_ms)

    def _media(self, own: _Track, frame: Frame, timestamp_ms: int) -> Sequence[Frame]:
        """Place a frame with media."""
        if not own.is_configured:
            self._note_unconfigured(own, frame.arrived)
            return ()
        if own.held or self._presentation is not None:
            return self._sudden(own, frame, timestamp_ms)
        dts_ms = self.timeline.place_steady(own.track, timestamp_ms)
        if dts_ms is None:
            return self._sudden(own, frame, timestamp_ms)
        frame.dts_ms = dts_ms
        if own.track is VIDEO:
            self._previous_stamp = timestamp_ms
            self._keep_apart(own, frame)
        return (frame,)

    def resume(self, base_ms: int) -> None:
        """Place the first media of another publisher at ``base_ms`` or later."""
        self.timeline.resume(base_ms)

    def restart(self) -> None:
        """Another publisher follows, with its own configurations."""
        self._video.restart()
        self._audio.restart()
        self._presentation = None
        self._in_band.restart()
        self._adts, self._other, self._others = b"", None, 0

    def _configure(self, own: _Track, frame: Frame) -> Sequence[Frame]:
        try:
            if own.track is VIDEO:
                config = self._in_band.configure(frame)
                return () if config is None else self._configured(own, config)
            if frame.codec is Codec.AAC:
                record = bytes(frame.data)
                standard = with_standard_layout(record)
                frame = frame if standard == record else aac_config(standard)
            parse_config(frame)
        except OversizedPicture:
            raise
        except MediaError as error:
            if self.converts_audio and isinstance(error, NotCarried):
                return self._to_convert(own, OtherAudio("aac", record=bytes(frame.data)), None, 0)
            raise self._unusable(own, error) from error
        if own.track is AUDIO:
            self._other, self._others = None, 0
        return self._configured(own, frame)

    def _is_confirmed(self, own: _Track) -> bool:
        """Whether another audio message that has to be converted is more than a single one among others."""
        self._others += 1
        return self._other is not None or not own.is_configured or self._others >= CONFIRMING

    def _as_other(self, other: OtherAudio, frame: Frame) -> Frame:
        """
        A frame of AAC that has to be converted.

        :raises NotServed: what has to be converted is of another codec.
        """
        if other.name != "aac" or frame.codec is not Codec.AAC:
            raise NotServed(Reason.CODEC, f"{frame.codec.value} among audio of another codec, without a configuration")
        return evolve(frame, codec=Codec.OTHER_AUDIO)

    def _to_convert(self, own: _Track, other: OtherAudio, frame: Frame | None, timestamp_ms: int) -> Sequence[Frame]:
        """The frames of audio that has to be converted: what it is, if that is new, and ``frame``."""
        if not other.record and self._other is not None and other.name == self._other.name:
            other = evolve(other, record=self._other.record)
        out: list[Frame] = []
        if other != self._other or not own.is_configured:
            self._other = other
            out += self._configured(own, other.config())
        return out if frame is None else [*out, *self._media(own, frame, timestamp_ms)]

    def _unusable(self, own: _Track, error: MediaError) -> NotServed:
        """The error of a configuration that cannot be used. One before it remains, unless the layout has changed."""
        is_layout = isinstance(error, UnsupportedLayout)
        own.is_configured = own.is_configured and not is_layout
        if not own.is_configured:
            own.unconfigured_since = inf
        reason = Reason.CHANNEL_LAYOUT if is_layout else Reason.CONFIGURATION
        return NotServed(reason, f"its configuration cannot be used: {error}")

    def _configured(self, own: _Track, frame: Frame) -> Sequence[Frame]:
        own.is_configured = True
        frame.dts_ms = self.timeline.newest_ms
        return (frame,)

    def _unwrapped(self, own: _Track, frame: Frame, stamp: int) -> Sequence[Frame]:
        """The frames of a tag of AAC with ADTS headers, which also describe them."""
        record, frames = split_adts(bytes(frame.data))
        out: list[Frame] = []
        if not own.is_configured or self._other is not None or record != (self._adts or record):
            config = aac_config(record)
            try:
                parsed = parse_config(config)
            except MediaError as error:
                raise self._unusable(own, error) from error
            assert isinstance(parsed, AudioConfig)
            self._other = None
            self._adts_ms = 1000 * parsed.samples_per_frame // parsed.sample_rate
            out += self._configured(own, config)
        self._adts, self._others = record, 0
        for number, data in enumerate(frames):
            out += self._media(own, aac_frame(0, data, frame.arrived), (stamp + number * self._adts_ms) % WRAP)
        return out

    def _leave_out(self, own: _Track, error: NotServed | UnsupportedCodec) -> None:
        """
        Leave a message out. One of an unsupported codec may be a single one among others that can be served.

        :raises UnsupportedCodec: it is not, and there is no video beside it that can be served.
        """
        if isinstance(error, NotServed):
            self.left_out.append(LeftOut(own.track, error.reason, str(error)))
            return
        own.unsupported += 1
        is_beside = own.track is AUDIO and (self._video.is_configured or own.unsupported < BESIDE_VIDEO)
        is_all = not own.is_configured and own.unsupported >= CONFIRMING and not is_beside
        if isinstance(error, OversizedPicture) or is_all:
            raise error
        self.left_out.append(LeftOut(own.track, Reason.CODEC, str(error)))

    def _note_further_track(self, own: _Track, body: bytes) -> None:
        track = None
        with suppress(MediaError):  # it is cut short behind the first track
            track = further_track(body)
        if track is not None:
            self.left_out.append(LeftOut(own.track, Reason.FURTHER_TRACK, further_text(track)))

    def _note_unconfigured(self, own: _Track, arrived: float) -> None:
        if own.unconfigured_since is None:
            own.unconfigured_since = arrived
        elif arrived - own.unconfigured_since >= CONFIGURED_WITHIN_S:
            own.unconfigured_since = inf
            text = "it has no complete sequence header, without which it cannot be decoded; restart the encoder"
            self.left_out.append(LeftOut(own.track, Reason.NO_CONFIGURATION, text))

    def _sudden(self, own: _Track, frame: Frame, stamp: int) -> Sequence[Frame]:
        """Hold a frame with a sudden timestamp, or decide what the held ones are worth."""
        if not self.timeline.is_sudden(own.track, stamp):
            if own.held:
                return self._with_strays(own, frame, stamp)
            self._place(own, frame, stamp)
            return (frame,)
        own.held.append((frame, stamp))
        step = (stamp - own.held[-2][1]) % WRAP if len(own.held) > 1 else 0
        if 0 < step <= AGREEING_MS or len(own.held) > MAX_HELD:
            return self._believe(own)
        return ()

    def _believe(self, own: _Track) -> Sequence[Frame]:
        """The last two held timestamps agree: the clock has jumped, or paused. Those before were errors."""
        (*strays, (first, stamp), (second, following)), own.held = own.held, []
        begins_ms = max(self.timeline.newest_of(own.track), own.newest_ms)
        self._place(own, first, stamp)
        between = self._between([frame for frame, _ in strays], own, begins_ms, first.dts_ms)
        self._place(own, second, following)
        return [*between, first, second]

    def _with_strays(self, own: _Track, frame: Frame, stamp: int) -> Sequence[Frame]:
        """The track continues from before the held frames, whose timestamps were errors."""
        strays, own.held = [held for held, _ in own.held], []
        begins_ms = max(self.timeline.newest_of(own.track), own.newest_ms)
        self._place(own, frame, stamp)
        return [*self._between(strays, own, begins_ms, frame.dts_ms), frame]

    def _between(self, strays: Sequence[Frame], own: _Track, begins_ms: int, ends_ms: int) -> list[Frame]:
        """Place frames evenly between two times; those without room are left out."""
        placed: list[Frame] = []
        for number, frame in enumerate(strays, 1):
            dts_ms = begins_ms + (ends_ms - begins_ms) * number // (len(strays) + 1)
            if begins_ms < dts_ms < ends_ms and (not placed or dts_ms > placed[-1].dts_ms):
                frame.dts_ms = dts_ms
                placed.append(frame)
        if own.track is VIDEO:
            for frame in placed:
                self._show_alone(frame)
        return placed

    def _place(self, own: _Track, frame: Frame, stamp: int) -> None:
        dts_ms, is_jump = self.timeline.place(own.track, stamp)
        if is_jump:
            self.jumped_at = frame
        if own.track is AUDIO:
            frame.dts_ms = dts_ms
            return
        self._find_presentation_times(frame, stamp, is_jump=is_jump)
        if self._presentation is not None:
            shown_ms = self.timeline.unclamped(VIDEO, stamp)
            dts_ms = self._presentation.decoded_at(shown_ms, own.newest_ms)
            set_composition(frame, shown_ms - dts_ms)
        frame.dts_ms = dts_ms
        self._keep_apart(own, frame)

    def _find_presentation_times(self, frame: Frame, stamp: int, *, is_jump: bool) -> None:
        """Some encoders send presentation times: then those of B-frames go back."""
        goes_back = (stamp - self._previous_stamp) % WRAP >= WRAP >> 1
        self._previous_stamp = stamp
        if is_jump or frame.cts_ms:
            self._presentation = None
        elif goes_back and self._presentation is None and is_b_frame(frame):
            self._presentation = PresentationTimes()

    def _keep_apart(self, own: _Track, frame: Frame) -> None:
        """Give a picture a decoding time above that of the one before, and a presentation time of its own."""
        if frame.dts_ms <= own.newest_ms:
            frame.dts_ms = own.newest_ms + 1
        own.newest_ms = frame.dts_ms
        self._show_alone(frame)

    def _show_alone(self, frame: Frame) -> None:
        """
        Give a picture a presentation time of its own.

        Only those of H.264 and HEVC have a composition time; of others, the decoding times are different anyway.
        """
        shown, pts_ms = self._shown, frame.dts_ms + frame.cts_ms
        if pts_ms in shown:
            while pts_ms in shown:
                pts_ms += 1
            set_composition(frame, pts_ms - frame.dts_ms)
        shown.append(pts_ms)
