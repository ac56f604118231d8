"""
An ingest whose renditions cost no encoder, for what many streams of many renditions cost beside that.

    python -m tests.system.repeating_ingest --role=ingest --set section.key=value ..

It is the ingest itself, made of its own parts, but for the transcoder: that repeats the frames of the source under the
name of each rung, in the ingest's own process.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.logger import globalLogBeginner, textFileLogObserver

from livestream.lifecycle.garbage import LOOK_S, Garbage
from livestream.model.frames import Frame
from livestream.net.periodic import Ticker
from livestream.roles.ingest import build_ingest
from livestream.tap import Options, raise_file_limit
from livestream.transcode.audio_conversion import AudioConversion
from livestream.transcode.ladder import Rung
from livestream.transcode.pool import RungSink


@frozen
class RepeatingTranscode:
    """Repeats the pictures of one broadcast."""

    names: list[str]
    sink: RungSink
    lag_ms: int = 0

    def feed(self, frame: Frame, cut_ms: int | None) -> None:
        for name in self.names:
            self.sink.rung_frame(name, frame)

    def keep(self, names: Sequence[str]) -> None:
        self.names[:] = [name for name in self.names if name in names]

    def source_kbps(self, kbps: int) -> None:
        """The rate is that of the source."""

    def release(self, before_pts_ms: int) -> None:
        """Nothing is kept."""

    def flush(self) -> Deferred[None]:
        return succeed(None)

    def close(self) -> None:
        """Nothing is open."""


@frozen
class RepeatingTranscoders:
    """In the place of `livestream.transcode.pool.TranscoderPool`."""

    def open(self, stream: str, ladder: Sequence[Rung], source_height: int, sink: RungSink) -> RepeatingTranscode:
        return RepeatingTranscode([rung.name for rung in ladder], sink)

    def open_audio(self, stream: str, converted: object, given_up: object) -> AudioConversion:
        raise AssertionError("its publishers send AAC")


def main() -> None:
    """Run it as ``twistd livestream`` does."""
    from twisted.internet import reactor

    options = Options()
    options.parseOptions(sys.argv[1:])
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    raise_file_limit()
    process = build_ingest(options["loaded"], reactor, RepeatingTranscoders())
    services = process.services
    services.privilegedStartService()
    services.startService()
    reactor.addSystemEventTrigger("before", "shutdown", services.stopService)
    garbage = Garbage()
    reactor.callWhenRunning(garbage.begin)
    Ticker(LOOK_S, garbage.look, reactor).setServiceParent(services)
    reactor.run()


if __name__ == "__main__":
    main()
