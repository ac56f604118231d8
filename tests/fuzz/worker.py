"""
Fuzz one target. This is a separate process because libFuzzer exits the process that it runs in.

``python -m tests.fuzz.worker TARGET [OPTION OF LIBFUZZER...] [FOLDER...]``
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["livestream"]):
    from tests.fuzz.bounds import check
    from tests.fuzz.targets import TARGETS

SLOWER = 8.0
"""How much slower instrumented code is, with a margin for a busy machine."""


def main(arguments: list[str]) -> None:
    run = TARGETS[arguments[1]].run
    atheris.Setup([arguments[0], *arguments[2:]], lambda data: check(run, data, SLOWER))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
