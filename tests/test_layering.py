"""The architecture as a test: imports point down only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (
    (
        "livestream",
        "livestream.model",
        "livestream.config",
        "livestream.settings",
        "livestream.setting_types",
        "livestream.checks",
        "livestream.rules",
        "livestream.urls",
        "livestream.endpoints",
        "livestream.signing",
    ),
    ("livestream.media",),
    ("livestream.rtmp", "livestream.packaging", "livestream.steering"),
    ("livestream.metrics",),
    ("livestream.net",),
    ("livestream.http",),
    (
        "livestream.ingest",
        "livestream.transcode",
        "livestream.bus",
        "livestream.cache",
        "livestream.hls",
        "livestream.push",
        "livestream.pages",
        "livestream.ops",
        "livestream.cluster",
    ),
    ("livestream.lifecycle",),
    ("livestream.roles", "livestream.files"),
    ("livestream.tap",),
)
LEVEL = {package: level for level, packages in enumerate(LAYERS) for package in packages}
PURE = (
    "rtmp", "media", "packaging", "steering",
    "model", "config", "settings", "setting_types", "checks", "rules", "urls", "endpoints", "signing",
)  # fmt: skip
IMPURE = {"twisted", "klein", "av", "txredisapi", "prometheus_client", "time", "random", "logging", "socket", "asyncio"}
ONLY_IN = {
    "av": ("livestream.transcode.",),
    "txredisapi": ("livestream.bus.redis",),
    "maxminddb": ("livestream.cluster.geography",),
}

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "livestream").rglob("*.py"))
}


def _package(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _imports(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            assert node.module is not None
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    package = _package(module)
    for imported in _imports(module):
        if imported.split(".")[0] == "livestream" and _package(imported) != package:
            below = LEVEL[_package(imported)] < LEVEL[package] or LEVEL[package] == 0 == LEVEL[_package(imported)]
            assert below, f"{module} imports {imported}"


@pytest.mark.parametrize("module", [m for m in MODULES if m.split(".")[1:2] and m.split(".")[1] in PURE])
def test_pure_packages_know_no_network_clock_or_log(module: str) -> None:
    assert not {imported.split(".")[0] for imported in _imports(module)} & IMPURE


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_that_touches_the_world_is_known_in_few_places(library: str) -> None:
    doors = {module for module in MODULES if library in {name.split(".")[0] for name in _imports(module)}}
    assert all(door.startswith(ONLY_IN[library]) for door in doors), doors


def test_only_what_starts_a_process_names_the_global_reactor() -> None:
    namers = {module for module in MODULES if "twisted.internet.reactor" in _named(module)}
    assert namers <= {"livestream.tap", "livestream.transcode.worker"}


def _named(module: str) -> set[str]:
    tree = ast.parse(MODULES[module].read_text())
    froms = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    return {f"{node.module}.{alias.name}" for node in froms for alias in node.names}


GRAMMAR = re.compile(r"0,63|\.(?:m4s|mp4|m3u8|flv)|-init-|/live\b|/(?:go|steer|taken?|watch|state)/")
"""What a string has in it that is, or matches, a name or a path with a name in it."""


def _literals(module: str) -> Iterator[str]:
    """Strings and bytes, those in f-strings with them, but no docstrings."""
    tree = ast.parse(MODULES[module].read_text())
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node not in docstrings and isinstance(node.value, str | bytes):
            yield node.value if isinstance(node.value, str) else node.value.decode("latin-1")


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"livestream.model.names"}))
def test_names_and_paths_are_written_and_read_by_one_module(module: str) -> None:
    assert [text for text in _literals(module) if GRAMMAR.search(text)] == []


def test_the_plugin_imports_nothing_else_of_ours() -> None:
    plugin = ast.parse((ROOT / "twisted/plugins/livestream_plugin.py").read_text())
    modules = [node.module or "" for node in ast.walk(plugin) if isinstance(node, ast.ImportFrom)]
    assert not [module for module in modules if module.startswith("livestream")]
