"""An ingest takes its transcoders from whoever builds it: here one that repeats the source."""

from __future__ import annotations

import re

from tests.ports import free_port
from tests.system.conftest import Site
from tests.system.processes import Daemon, get, until

PROGRAM = ("-m", "tests.system.repeating_ingest")
NAMES = ("source", "240p", "180p", "120p")


def test_the_renditions_of_an_ingest_are_what_its_transcoder_makes_of_the_source(site: Site) -> None:
    rtmp, http = free_port(), free_port()
    settings = [
        f"bus.redis={site.redis().url}",
        f"ingest.rtmp=tcp:{rtmp}:interface=127.0.0.1",
        f"ingest.http=tcp:{http}:interface=127.0.0.1",
        "transcode.ladder=[240, 180, 120]",
        "hls.segment_s=1",
    ]
    site.enter(Daemon.of(site.folder, "ingest", *settings, role="ingest", program=PROGRAM).running())
    site.publish(f"rtmp://127.0.0.1:{rtmp}/live/show", 20, gop_s=1)
    base = f"http://127.0.0.1:{http}/live/show"

    def listed(name: str) -> list[str]:
        text = get(f"{base}/{name}/index.m3u8")[2].decode()
        return re.findall(r"^[^#\s]+\.m4s$", text, re.MULTILINE)

    until(lambda: all(len(listed(name)) >= 2 for name in NAMES), "two segments of each rendition")
    first = [get(f"{base}/{name}/{listed(name)[0]}") for name in NAMES]
    assert {status for status, _, _ in first} == {200}
    assert len({body for _, _, body in first}) == 1, "each has the source's frames"
