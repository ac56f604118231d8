"""What is built can be installed, and twistd finds it there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
TWISTD = "from twisted.scripts.twistd import run; run()"


def _run(*arguments: str, cwd: Path, **environ: str) -> str:
    answer = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout + answer.stderr


def _knows_livestream(help_text: str) -> bool:
    return re.search(r"^\s+livestream\s", help_text, re.MULTILINE) is not None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what git has, so that the working tree stays clean."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    isolation = ["--no-build-isolation"] if find_spec("setuptools") and find_spec("wheel") else []
    pip = ["-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps", *isolation]
    _run(*pip, "--wheel-dir", str(out), str(source), cwd=out)
    (built,) = out.glob("livestream-*.whl")
    return built


def test_the_wheel_has_every_module_and_all_that_the_pages_need(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "livestream").rglob("*")
        if path.suffix in (".py", ".js", ".css", ".html", ".txt") or path.name == "py.typed"
    }
    assert expected <= names
    assert "twisted/plugins/livestream_plugin.py" in names


def test_the_wheel_brings_nothing_of_twisted_itself(wheel: Path) -> None:
    twisted = [name for name in ZipFile(wheel).namelist() if name.startswith("twisted/")]
    assert twisted == ["twisted/plugins/livestream_plugin.py"]


def test_twistd_finds_what_was_installed(wheel: Path, tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    pip = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--target", str(target)]
    _run(*pip, str(wheel), cwd=elsewhere)
    assert _knows_livestream(_run("-c", TWISTD, "--help", cwd=elsewhere, PYTHONPATH=str(target)))
    where = _run("-c", "import livestream; print(livestream.__file__)", cwd=elsewhere, PYTHONPATH=str(target))
    assert where.startswith(str(target))


def test_twistd_finds_the_editable_installation_from_any_folder(tmp_path: Path) -> None:
    assert _knows_livestream(_run("-c", TWISTD, "--help", cwd=tmp_path))
    where = _run("-c", "import livestream; print(livestream.__path__)", cwd=tmp_path)
    assert str(ROOT / "livestream") in where
