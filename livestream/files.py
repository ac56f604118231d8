"""The configuration's file, and the files that settings name, looked at before anything is started."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from livestream.cluster.geography import Geography
from livestream.config import SETTINGS, Config, ConfigError
from livestream.endpoints import parse
from livestream.transcode.slates import read_picture

FILE_BYTES = 4 << 20
"""A configuration file has no more."""


def read_text(path: Path) -> str:
    """
    The text of a configuration file, without the byte order mark that some editors put before it.

    :raises OSError: it cannot be read, or is so large that it must be another file.
    :raises UnicodeDecodeError: it is not UTF-8.
    """
    with path.open("rb") as file:
        data = file.read(FILE_BYTES + 1)
    if len(data) > FILE_BYTES:
        raise OSError(errno.EFBIG, f"it is larger than {FILE_BYTES >> 20} MiB")
    return data.decode("utf-8-sig")


def check_files(config: Config, folder: Path) -> None:
    """
    Make sure that what settings name can be used; paths are from ``folder`` on.

    :raises ConfigError: some of it cannot, a line for each.
    """
    lines = [*_unreadable(config, folder), *_unwritable(config, folder)]
    loads: list[Callable[[], object]] = []
    if config.cluster.geo_database:
        loads.append(Geography(config.cluster.geo_database).load)
    if config.ingest.slate and config.role in ("all", "ingest"):
        loads.append(lambda: read_picture(folder / config.ingest.slate))
    for load in loads:
        try:
            load()
        except ConfigError as error:
            lines += error.lines
    if lines:
        raise ConfigError(lines)


def _unreadable(config: Config, folder: Path) -> Iterator[str]:
    """The keys and certificates of endpoints that cannot be read."""
    for setting in (name for name, each in SETTINGS.items() if config.role in each.metadata["listens"]):
        for name in parse(config.get(setting)).files:
            path = folder / name
            if not path.is_file():
                yield f"{setting}: {name!r} cannot be read: no such file: {path}"
            elif not os.access(path, os.R_OK):
                yield f"{setting}: {name!r} cannot be read: permission denied"


def _unwritable(config: Config, folder: Path) -> Iterator[str]:
    """The access log, if it cannot be written; it need not be there yet."""
    name = config.edge.access_log
    if not name or config.role not in ("all", "edge"):
        return
    path = folder / name
    if path.is_dir():
        yield f"edge.access_log: {name!r} is a directory; write the name of a file"
    elif not path.parent.is_dir():
        yield f"edge.access_log: {name!r} cannot be written: no such directory: {path.parent}"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        yield f"edge.access_log: {name!r} cannot be written: permission denied"
