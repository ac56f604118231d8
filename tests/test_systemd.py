"""The units, as systemd itself reads them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from livestream.settings import Cluster

UNITS = Path(__file__).parents[1] / "etc" / "systemd"
SERVICES = ("livestream-ingest.service", "livestream-origin.service", "livestream-edge@.service")
MOST_EXPOSED = 2.0

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and "CI" not in os.environ, reason="systemd-analyze is not installed"
)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a program that exists here, one edge among them."""
    for path in UNITS.iterdir():
        name = path.name.replace("@.", "@one.")
        (tmp_path / name).write_text(re.sub(r"/opt/livestream/bin/twistd", sys.executable, path.read_text()))
    return tmp_path


def _analyze(*arguments: str) -> tuple[int, str]:
    answer = subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return answer.returncode, answer.stdout + answer.stderr


def test_systemd_finds_nothing_wrong_with_the_units(units: Path) -> None:
    status, said = _analyze("verify", "--man=no", *map(str, sorted(units.iterdir())))
    ours = [line for line in said.splitlines() if "livestream" in line]
    assert (status, ours) == (0, []), said


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_exposed_as_little_as_it_can_be(units: Path, service: str) -> None:
    _, said = _analyze("security", "--offline=yes", str(units / service.replace("@.", "@one.")))
    found = re.search(r"Overall exposure level.*?: ([0-9.]+)", said)
    assert found and float(found[1]) <= MOST_EXPOSED, said[-2000:]


@pytest.mark.parametrize("service", SERVICES)
def test_each_role_has_a_unit_that_starts_it(service: str) -> None:
    text = (UNITS / service).read_text()
    role = re.search(r"--role=(\w+)", text)
    assert role and role[1] in service
    assert {"Type=notify", "WantedBy=livestream.target"} <= set(text.splitlines())


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_time_to_drain_and_reads_its_file_again_at_a_reload(service: str) -> None:
    text = (UNITS / service).read_text()
    timeout = re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert timeout and int(timeout[1]) > Cluster().drain_s
    copies = re.findall(r"^(ExecStartPre|ExecReload)=\+(/usr/bin/install .*)$", text, re.MULTILINE)
    assert [kind for kind, _ in copies] == ["ExecStartPre", "ExecReload"]
    assert len({command for _, command in copies}) == 1
    copy = copies[0][1].split()[-1]
    assert f"--config={copy}" in text and f"RuntimeDirectory={Path(copy).parent.name}\n" in text
    assert "ExecReload=/bin/kill -HUP $MAINPID\n" in text
