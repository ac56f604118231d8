"""Limits on what parsing an input may cost: CPU time by its size, and memory still held afterwards."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from enum import Enum
from time import thread_time
from types import FunctionType, ModuleType

LONGEST_BYTES = 1 << 16
"""The longest input: larger than any header or heartbeat, and than what an RTMP peer may send before it publishes."""
CPU_S, CPU_BYTE_S = 0.25, 20e-6
"""CPU time allowed per input and per byte: 1.6 s for the longest, about four times what the slowest target needs."""

_SHARED = (type, ModuleType, FunctionType, Enum)


class TooSlow(AssertionError):
    """An input took more CPU time than its size allows."""


def check(target: Callable[[bytes], None], data: bytes, slower: float = 1.0) -> None:
    """
    Run ``target`` on ``data``. ``slower`` scales the limit, for instrumented code.

    :raises TooSlow: it took longer than its size allows.
    """
    began = thread_time()
    target(data)
    took, allowed = thread_time() - began, (CPU_S + CPU_BYTE_S * len(data)) * slower
    if took > allowed:
        raise TooSlow(f"{len(data)} bytes took {took:.2f} s of CPU time; {allowed:.2f} s at most")


def held_bytes(root: object) -> int:
    """The size in bytes of an object and of everything reachable from it, without classes, modules and functions."""
    total, seen, waiting = 0, {id(root)}, [root]
    while waiting:
        each = waiting.pop()
        total += sys.getsizeof(each)
        for other in gc.get_referents(each):
            if id(other) not in seen and not isinstance(other, _SHARED):
                seen.add(id(other))
                waiting.append(other)
    return total
