"""Internal errors that are caught and logged by the code under test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.logger import LogLevel

from tests.logs import observed


@contextmanager
def no_faults() -> Iterator[None]:
    """Fail if an error is logged within the block."""
    faults: list[Any] = []

    def observe(event: Any) -> None:
        if event.get("log_level") in (LogLevel.error, LogLevel.critical):
            faults.append(event)

    with observed(observe):
        yield
    assert not faults, faults
