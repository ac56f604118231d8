"""What a person meets who starts the daemon, rightly and wrongly."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.system.conftest import Site
from tests.system.processes import ROOT, Daemon, get, until


def _twistd(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile="]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)


def test_twistd_lists_livestream() -> None:
    assert re.search(r"^\s+livestream\s", _twistd("--help").stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[hls]\nsegment = 3\n", "hls.segment: "),
        ("[hls]\nsegment_s = 'x'\n", "hls.segment_s: "),
        ("[ingest]\nrtmp = 'tcp:1935'\n", "ingest.rtmp: "),
        ("[hls\n", "invalid TOML"),
    ],
)
def test_a_wrong_configuration_is_a_line_that_names_file_key_and_cure(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    answer = _twistd("livestream", f"--config={file}", "--check")
    lines = (answer.stdout + answer.stderr).strip().splitlines()
    assert answer.returncode == 2
    assert len(lines) == 1, lines
    assert str(file) in lines[0] and words in lines[0]


def test_a_database_of_places_that_is_not_there_is_one_line_that_names_the_setting() -> None:
    settings = {
        "cluster.secret": "a secret of the cluster",
        "cluster.geo_database": "/nowhere/places.mmdb",
        "bus.redis": "unix:/nowhere/redis.sock",
        "node.id": "edge-1",
        "node.http": "http://127.0.0.1:8080",
    }
    answer = _twistd("livestream", "--role=edge", *(f"--set={key}={value}" for key, value in settings.items()))
    assert answer.returncode == 2
    (line,) = [line for line in (answer.stdout + answer.stderr).splitlines() if "places.mmdb" in line]
    assert line == "cluster.geo_database: '/nowhere/places.mmdb' cannot be read: No such file or directory"
    assert "Traceback" not in answer.stdout + answer.stderr


def test_a_database_that_is_not_there_is_found_by_a_check() -> None:
    answer = _twistd("livestream", "--set=cluster.geo_database=/nowhere", "--check")
    assert answer.returncode == 2
    assert "cluster.geo_database: '/nowhere' cannot be read" in answer.stderr


def test_a_port_in_use_is_one_line_that_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = [f"edge.http=tcp:{port}:interface=127.0.0.1", f"ops.http=tcp:{free_port()}:interface=127.0.0.1"]
        settings.append(f"ingest.rtmp=tcp:{free_port()}:interface=127.0.0.1")
        answer = _twistd("livestream", *(f"--set={setting}" for setting in settings))
    assert answer.returncode != 0
    said = [line for line in (answer.stdout + answer.stderr).splitlines() if "edge.http" in line]
    assert len(said) == 1 and str(port) in said[0]
    assert "Traceback" not in answer.stdout + answer.stderr


def test_every_shipped_configuration_is_valid() -> None:
    for role in ("ingest", "origin", "edge"):
        answer = _twistd("livestream", f"--role={role}", f"--config=etc/{role}.toml", "--check")
        assert (answer.returncode, answer.stdout + answer.stderr) == (0, "") or answer.returncode == 0


def test_the_demo_plays_from_one_command_and_says_what_to_open(site: Site) -> None:
    http, rtmp = free_port(), free_port()
    settings = (f"edge.http=tcp:{http}:interface=127.0.0.1", f"ingest.rtmp=tcp:{rtmp}:interface=127.0.0.1")
    daemon = Daemon.of(site.folder, "demo", *settings, "transcode.ladder=[]", options=["--demo"])
    site.run(daemon)
    assert f"http://127.0.0.1:{http}/watch/demo" in daemon.words()
    until(lambda: get(f"http://127.0.0.1:{http}/live/demo/master.m3u8")[0] == 200, "the demo's playlist", 40)
    os.killpg(daemon.pid, signal.SIGINT)  # as Ctrl-C does, which reaches the publisher of the test card too
    assert daemon.wait(20) == -signal.SIGINT
    assert "Traceback" not in daemon.words(), daemon.words()
