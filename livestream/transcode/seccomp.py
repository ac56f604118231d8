"""
The system call filter of a transcoding child, as a program for Linux's seccomp (seccomp(2), bpf(4)).

A child computes: it reads one pipe and writes another, and may start threads and open files for reading. Anything that
affects the network, other processes or persistent state fails with EPERM, even if a decoder is exploited.
"""

from __future__ import annotations

import errno
import platform
from struct import Struct

from attrs import frozen

CLONE_THREAD = 0x10000
WRITES = 0o1 | 0o2 | 0o100 | 0o1000
"""O_WRONLY, O_RDWR, O_CREAT and O_TRUNC, which are the same on both architectures."""

_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _JUMP_IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets in ``struct seccomp_data``; each argument has 8 bytes, low half first."""
_X32 = 0x40000000
"""System calls of x86's x32 ABI have this bit, and do the same under other numbers."""
_INSTRUCTION = Struct("=HBBI")

_DENIED: dict[str, tuple[int | None, int | None]] = {
    # The network
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    # Other programs, and other processes
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "kcmp": (312, 272), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    # Files
    "creat": (85, None), "truncate": (76, 45), "ftruncate": (77, 46), "rename": (82, None), "renameat": (264, 38),
    "renameat2": (316, 276), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None), "link": (86, None),
    "linkat": (265, 37), "unlink": (87, None), "unlinkat": (263, 35), "symlink": (88, None), "symlinkat": (266, 36),
    "mknod": (133, None), "mknodat": (259, 33), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53),
    "fchmodat2": (452, 452), "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "memfd_create": (319, 279),
    "open_by_handle_at": (304, 265),
    # The kernel: io_uring does most of the above by itself
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "init_module": (175, 105),
    "finit_module": (313, 273), "kexec_load": (246, 104), "personality": (135, 92),
}  # fmt: skip
"""The numbers on x86_64 and aarch64; ``None`` if a call does not exist there."""


@frozen
class Architecture:
    """
    The numbers of one instruction set: ``audit`` is its AUDIT_ARCH, ``column`` its index in the table.

    The other fields are the calls that are filtered by their arguments; ``open_at`` has the flags as its third
    argument, ``open_old`` as its second.
    """

    audit: int
    column: int
    clone: int
    clone3: int
    open_old: int | None
    open_at: int
    open_at2: int
    kill: int
    tgkill: int
    prlimit: int


X86_64 = Architecture(0xC000003E, 0, clone=56, clone3=435, open_old=2, open_at=257, open_at2=437, kill=62, tgkill=234,
                      prlimit=302)  # fmt: skip
AARCH64 = Architecture(0xC00000B7, 1, clone=220, clone3=435, open_old=None, open_at=56, open_at2=437, kill=129,
                       tgkill=131, prlimit=261)  # fmt: skip
ARCHITECTURES = {"x86_64": X86_64, "aarch64": AARCH64}


def architecture() -> Architecture | None:
    """This machine's architecture, if it is supported."""
    return ARCHITECTURES.get(platform.machine())


def denied(machine: Architecture) -> dict[str, int]:
    """The calls that always fail, by name."""
    numbers = ((name, each[machine.column]) for name, each in _DENIED.items())
    return {name: number for name, number in numbers if number is not None}


def program(machine: Architecture, pid: int) -> bytes:
    """
    The filter for the process ``pid``, an array of ``struct sock_filter``. What is not denied is allowed.

    ``clone`` must create a thread; ``clone3``, whose arguments a filter cannot inspect, fails with ENOSYS, and the C
    library falls back to ``clone``. Files can only be opened for reading; signals and limits can only be set for the
    process itself.
    """
    fail, absent = _fail(errno.EPERM), _fail(errno.ENOSYS)
    rules = [
        _load(_ARCHITECTURE) + _unless_equal(machine.audit, fail),
        _load(_NUMBER) + _step(_JUMP_IF_AT_LEAST, _X32, 0, 1) + fail,
        *(_for_call(number, fail) for number in denied(machine).values()),
        *(_for_call(number, absent) for number in (machine.clone3, machine.open_at2)),
        _for_call(machine.clone, _argument(0) + _step(_JUMP_IF_ANY_BIT, CLONE_THREAD, 1, 0) + fail + _allow()),
        _for_call(machine.open_at, _reads(2)),
        *(
            _for_call(number, _argument(0) + _unless_equal(pid, fail) + _allow())
            for number in (machine.kill, machine.tgkill)
        ),
        _for_call(machine.prlimit, _argument(0) + _step(_JUMP_IF_EQUAL, 0, 2, 0) + _unless_equal(pid, fail) + _allow()),
    ]
    if machine.open_old is not None:
        rules.append(_for_call(machine.open_old, _reads(1)))
    return b"".join((*rules, _allow()))


def _reads(flags: int) -> bytes:
    """Allow opening a file unless for writing."""
    return _argument(flags) + _step(_JUMP_IF_ANY_BIT, WRITES, 0, 1) + _fail(errno.EPERM) + _allow()


def _for_call(number: int, instructions: bytes) -> bytes:
    """Execute the instructions for this call, whose number is loaded, and skip them for any other."""
    return _step(_JUMP_IF_EQUAL, number, 0, len(instructions) // _INSTRUCTION.size) + instructions


def _unless_equal(value: int, instructions: bytes) -> bytes:
    return _step(_JUMP_IF_EQUAL, value, len(instructions) // _INSTRUCTION.size, 0) + instructions


def _argument(index: int) -> bytes:
    """Load the low half of an argument: the arguments that are inspected are ``int``."""
    return _load(_ARGUMENTS + 8 * index)


def _load(offset: int) -> bytes:
    return _step(_LOAD, offset)


def _fail(number: int) -> bytes:
    return _step(_RETURN, _FAIL | number)


def _allow() -> bytes:
    return _step(_RETURN, _ALLOW)


def _step(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, if_true, if_false, operand)
