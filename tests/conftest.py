"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.logged_failures import LoggedFailures


@pytest.fixture(autouse=True)
def logged_failures() -> Iterator[LoggedFailures]:
    """A failure in the log fails the test that caused it, unless the test takes it."""
    failures = LoggedFailures()
    with failures.observed():
        yield failures
    if unexpected := failures.describe():
        pytest.fail(
            f"logged while the test ran, and not taken with logged_failures.take():\n{unexpected}", pytrace=False
        )
