"""Confines a child of the daemon: its environment, resource limits and system calls."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from livestream.transcode.seccomp import architecture, program

FILES = 64
NICENESS = 5
_KEPT = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE")
_KEPT_PREFIX = "LC_"
_ROOT = str(Path(__file__).parents[2])
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that a child needs to run this program: paths and the locale, but no secrets."""
    kept = {name: value for name, value in environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIX)}
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, kept.get("PYTHONPATH"))))
    return kept


def be_nice() -> None:
    """Give way to other processes, above all to the daemon."""
    os.nice(NICENESS)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when ``parent`` ends; end if it already has."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def confine(memory_bytes: int, max_memory_bytes: int) -> str:
    """
    Restrict this process, and every thread that it starts, to what a decoder needs.

    The address space is limited to ``memory_bytes``; :func:`grant_memory` may change that up to ``max_memory_bytes``.
    Return why there is no system call filter; empty if there is one.
    """
    _limit(resource.RLIMIT_AS, memory_bytes, max_memory_bytes)
    _limit(resource.RLIMIT_NOFILE, FILES, FILES)
    _limit(resource.RLIMIT_FSIZE, 0, 0)
    _limit(resource.RLIMIT_CORE, 0, 0)
    return _filter_system_calls()


def grant_memory(memory_bytes: int) -> None:
    """Set the limit of the address space, as far as that is allowed."""
    _limit(resource.RLIMIT_AS, memory_bytes, resource.RLIM_INFINITY)


def granted_memory() -> int:
    """The limit of the address space, in bytes."""
    return resource.getrlimit(resource.RLIMIT_AS)[0]


def free_memory() -> int:
    """What is left of it."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return granted_memory() - pages * resource.getpagesize()


def _limit(which: int, soft: int, hard: int) -> None:
    """Set a limit, or the current hard limit if that is lower, since it cannot be raised."""
    _, now = resource.getrlimit(which)
    limits = [limit for limit in (hard, now) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(which, (min(soft, *limits), min(limits)) if limits else (soft, resource.RLIM_INFINITY))


def _filter_system_calls() -> str:
    machine = architecture()
    if machine is None:
        return f"there is none for {os.uname().machine}"
    instructions = program(machine, os.getpid())
    filters = _Program(len(instructions) // 8, instructions)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong)
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, None, 0, 0) or prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(filters), 0, 0
    ):
        return os.strerror(ctypes.get_errno())
    return ""
