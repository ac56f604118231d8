"""What is written about settings is what is declared."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from livestream.config import SECTIONS, SETTINGS, load
from livestream.setting_types import write

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "SECURITY.md", "CHANGELOG.md")
IN_WORDS = {"empty": "", "none": "", "the role": "", "private networks": write(SETTINGS["limits.relays_from"].default)}
"""Defaults that tables have in words, in which a setting that has no value is none as well."""
NAME = re.compile(rf"`((?:{'|'.join(SECTIONS)})\.[a-z_]+)`")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "README.md").read_text().splitlines()
    if line.startswith("| `") and NAME.search(line.split("|")[1])
]
ROLES = ("ingest", "origin", "edge")


def in_words(default: Any) -> str:
    """A default, as a table has it."""
    return default if isinstance(default, str) else "" if default in (None, (), {}) else write(default)


def number(text: str) -> str:
    """A number as it is compared: without ``.0``, and in bytes."""
    value, _, unit = text.partition(" ")
    return str(int(value) << 20) if unit == "MiB" else text.removesuffix(".0")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_says_in_a_line_what_it_is_for(name: str) -> None:
    text = SETTINGS[name].metadata["help"]
    assert text and text.isprintable()


def test_endpoints_and_no_others_are_listened_at() -> None:
    listeners = [name for name, each in SETTINGS.items() if each.metadata["listens"]]
    assert listeners == [name for name, each in SETTINGS.items() if each.metadata["check"].__name__ == "endpoint"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_settings_that_there_are(document: str) -> None:
    names = {name for name in NAME.findall((ROOT / document).read_text()) if not name.endswith((".toml", ".pid"))}
    assert names and names <= SETTINGS.keys()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_defaults_of_tables_are_those_of_the_settings(row: list[str]) -> None:
    names = NAME.findall(row[0])
    texts = [row[1]] if len(names) == 1 else row[1].split(", ")
    texts *= 1 if len(texts) > 1 else len(names)
    known = [IN_WORDS.get(text, number(text.strip("`"))) for text in texts]
    assert known == [number(in_words(SETTINGS[name].default)) for name in names] or "*" in row[0]


def test_there_is_a_table_of_the_settings_that_matter_first() -> None:
    assert len(ROWS) > 30


@pytest.mark.parametrize("role", ROLES)
def test_the_files_that_come_along_are_right_with_all_that_is_commented_out(role: str) -> None:
    text = (ROOT / "etc" / f"{role}.toml").read_text()
    whole = re.sub(r"^# (?=[a-z_]+ = |\[|\")", "", text, flags=re.MULTILINE)
    assert whole.count("\n# ") < text.count("\n# ") / 3
    assert load(role, "live.toml", {}, (), lambda _: text).role == role
    assert load(role, "live.toml", {}, (), lambda _: whole).role == role


@pytest.mark.parametrize("role", ROLES)
def test_what_is_commented_out_is_the_default_unless_that_is_empty_or_a_matter_of_place(role: str) -> None:
    text = (ROOT / "etc" / f"{role}.toml").read_text()
    sections = tomllib.loads(re.sub(r"^(?!#|\[).*|^# (?=[a-z_]+ = )|^\[ingest.keys\]", "", text, flags=re.MULTILINE))
    commented = {f"{section}.{key}": value for section, table in sections.items() for key, value in table.items()}
    assert len(commented) > 10
    for name, value in commented.items():
        default = SETTINGS[name].default
        if default and name not in ("limits.relays_from", "limits.exempt"):
            assert value == (list(default) if isinstance(default, tuple) else default), name
