"""The documents name only files, headings and classes that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")
ROOTS = (ROOT, ROOT / "livestream", ROOT / "benchmarks")
"""A path in a document begins in one of these."""
CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[a-z_]+(?:/[a-z_]+)*\.py|(?:livestream|tests|benchmarks|etc)(?:/[a-z_]+)+/?")
CLASS = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]+)*")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")


def _text(document: str) -> str:
    return (ROOT / document).read_text()


def _anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_in_a_document_exists(document: str) -> None:
    named = {code for code in CODE.findall(_text(document)) if PATH.fullmatch(code)}
    assert [path for path in sorted(named) if not any((root / path).exists() for root in ROOTS)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_of_a_document_leads_somewhere(document: str) -> None:
    for path, anchor in LINK.findall(_text(document)):
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), path
        assert not anchor or anchor in _anchors(target), f"{path}#{anchor}"


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_class_in_a_document_is_one_of_the_source(document: str) -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "livestream").rglob("*.py"))
    named = {
        code.partition(".")[0] for code in CODE.findall(_text(document)) if CLASS.fullmatch(code.partition(".")[0])
    }
    assert named
    assert named <= set(re.findall(r"\b[A-Z]\w+", source))


def test_the_architecture_names_the_modules_of_every_package() -> None:
    named = {code for code in CODE.findall(_text("ARCHITECTURE.md")) if PATH.fullmatch(code)}
    assert len(named) > 40
