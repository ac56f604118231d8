"""Each limit has a name that is counted, and a line in the table of SECURITY.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from livestream.config import SETTINGS
from livestream.metrics import LIMITS, Metrics
from livestream.settings import Limits

ROOT = Path(__file__).parents[1]
TABLE = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "SECURITY.md").read_text().partition("## Limits")[2].splitlines()
    if line.startswith("| `")
]


def test_the_table_has_every_limit_once() -> None:
    documented = [name for cells in TABLE for name in re.findall(r"`([a-z_]+)`", cells[0])]
    assert sorted(documented) == sorted(LIMITS)


def test_the_table_names_settings_that_there_are_and_all_that_are_limits() -> None:
    named = {name for cells in TABLE for name in re.findall(r"`([a-z]+\.[a-z_]+)`", cells[2])}
    assert named <= SETTINGS.keys()
    no_limits = {"limits.exempt", "limits.send_buffer_kb"}
    assert {f"limits.{each.name}" for each in attrs.fields(Limits)} - no_limits <= named


def test_the_defaults_of_the_table_are_those_of_the_settings() -> None:
    for cells in TABLE:
        setting = re.fullmatch(r"`limits\.([a-z_]+)`", cells[2])
        if setting is not None:
            (number,) = re.findall(r"\d+", cells[1].replace(",", ""))
            assert float(number) == getattr(Limits(), setting[1]), cells


def test_every_limit_is_counted_from_the_start_and_somewhere() -> None:
    registry = Metrics().registry
    for name in LIMITS:
        assert registry.get_sample_value("livestream_limits_hit_total", {"limit": name}) == 0
    assert set(LIMITS) <= set(_strings())


def _strings() -> Iterator[str]:
    """Every string of the source, those that are put together from parts with all their values."""
    for path in (ROOT / "livestream").rglob("*.py"):
        if path.name != "metrics.py":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
    for kind in ("connections", "connects"):
        yield from (f"{prefix}{kind}_per_address" for prefix in ("", "rtmp_"))
    yield from ("connections", "ops_connections")
