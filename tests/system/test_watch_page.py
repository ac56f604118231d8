"""The watch page in a real Chromium, on a real broadcast."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.system.conftest import Site
from tests.system.processes import Daemon, get, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None and "CI" not in os.environ,
        reason="no Chromium: apt-get install chromium, or brew, or your own",
    ),
]


def _look(script: str, url: str, picture: Path) -> str:
    """Run a Playwright script in a process of its own, away from this one's event loops."""
    answer = subprocess.run(
        [sys.executable, Path(__file__).parent / "browser.py", script, url, str(picture)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "CHROMIUM": CHROMIUM or "/usr/bin/chromium"},
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.fixture
def page(site: Site) -> str:
    http, rtmp = free_port(), free_port()
    daemon = Daemon.of(
        site.folder,
        "all",
        f"edge.http=tcp:{http}:interface=127.0.0.1",
        f"ingest.rtmp=tcp:{rtmp}:interface=127.0.0.1",
        "transcode.ladder=[240]",
    )
    site.run(daemon)
    site.publish(f"rtmp://127.0.0.1:{rtmp}/live/show", 90)
    until(lambda: b"240p" in get(f"http://127.0.0.1:{http}/live/show/master.m3u8")[2], "two renditions", 40)
    return f"http://127.0.0.1:{http}"


def test_the_page_plays_in_chromium_with_a_menu_of_qualities_and_a_latency(page: str, site: Site) -> None:
    said = _look("hls", f"{page}/watch/show", site.folder / "page.png")
    assert "playing" in said


def test_low_latency_plays_in_chromium(page: str, site: Site) -> None:
    said = _look("low-latency", f"{page}/watch/show", site.folder / "page.png")
    assert "playing" in said


def test_an_offline_stream_is_said_in_plain_words(page: str, site: Site) -> None:
    assert "offline" in _look("offline", f"{page}/watch/nobody", site.folder / "page.png")
