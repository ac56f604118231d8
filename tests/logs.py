"""Observers of the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from twisted.logger import ILogObserver, Logger, globalLogPublisher


@contextmanager
def observed(observer: Callable[[Any], object]) -> Iterator[None]:
    """Call ``observer`` with each event that is logged in the block."""
    added = cast(ILogObserver, observer)
    globalLogPublisher.addObserver(added)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(added)


def logger_to(observer: Callable[[Any], object]) -> Logger:
    """A log that only ``observer`` sees."""
    return Logger(observer=cast(ILogObserver, observer))
