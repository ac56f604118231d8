"""The program that filters system calls, run here by a small machine of the test's own, for either architecture."""

import errno
import platform
import re
import struct
from pathlib import Path

import pytest

from livestream.transcode.seccomp import AARCH64, CLONE_THREAD, X86_64, Architecture, architecture, denied, program

PID = 4711
ALLOWED = "allowed"
BOTH = pytest.mark.parametrize("machine", [X86_64, AARCH64], ids=["x86_64", "aarch64"])
READ = {X86_64: 0, AARCH64: 63}
O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_CLOEXEC = 0, 1, 2, 0o100, 0o1000, 0o2000000


def verdict(machine: Architecture, number: int, *arguments: int, audit: int | None = None) -> str:
    """What the kernel does with a call: ``ALLOWED``, or the name of the error that it answers with."""
    data = struct.pack("<IIQ", number, machine.audit if audit is None else audit, 0)
    data += struct.pack("<6Q", *arguments, *[0] * (6 - len(arguments)))
    instructions = list(struct.iter_unpack("=HBBI", program(machine, PID)))
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, operand = instructions[at]
        at += 1
        if code == 0x20:
            (loaded,) = struct.unpack_from("<I", data, operand)
        elif code == 0x06:
            return ALLOWED if operand == 0x7FFF0000 else errno.errorcode[operand & 0xFFFF]
        else:
            is_true = {0x15: loaded == operand, 0x35: loaded >= operand, 0x45: bool(loaded & operand)}[code]
            at += if_true if is_true else if_false


@BOTH
def test_every_call_of_the_table_fails_and_what_a_decoder_does_is_allowed(machine: Architecture) -> None:
    verdicts = {name: verdict(machine, number) for name, number in denied(machine).items()}
    assert {name for name, each in verdicts.items() if each != "EPERM"} == set()
    assert {"socket", "connect", "execve", "ptrace", "io_uring_setup", "unlinkat"} <= verdicts.keys()
    assert verdict(machine, READ[machine]) == ALLOWED


@BOTH
def test_threads_begin_and_processes_do_not(machine: Architecture) -> None:
    assert verdict(machine, machine.clone, 0x3D0F00 | CLONE_THREAD) == ALLOWED
    assert verdict(machine, machine.clone, 17) == "EPERM"
    assert verdict(machine, machine.clone3) == "ENOSYS"


@BOTH
@pytest.mark.parametrize(
    ("flags", "answer"),
    [(O_RDONLY, ALLOWED), (O_CLOEXEC, ALLOWED), (O_WRONLY, "EPERM"), (O_RDWR | O_CLOEXEC, "EPERM"),
     (O_RDONLY | O_CREAT, "EPERM"), (O_RDONLY | O_TRUNC, "EPERM")],
)  # fmt: skip
def test_files_are_opened_to_be_read(machine: Architecture, flags: int, answer: str) -> None:
    assert verdict(machine, machine.open_at, -100 & 0xFFFFFFFF, 0, flags) == answer
    assert verdict(machine, machine.open_at2, 0, 0, 0) == "ENOSYS"
    if machine.open_old is not None:
        assert verdict(machine, machine.open_old, 0, flags) == answer


@BOTH
def test_signals_and_limits_are_for_the_process_itself(machine: Architecture) -> None:
    for call in (machine.kill, machine.tgkill):
        assert verdict(machine, call, PID, 9) == ALLOWED
        for other in (PID + 1, 0, 1, 0xFFFFFFFF):
            assert verdict(machine, call, other, 9) == "EPERM"
    assert [verdict(machine, machine.prlimit, pid) for pid in (0, PID, PID + 1)] == [ALLOWED, ALLOWED, "EPERM"]


@BOTH
def test_calls_of_another_instruction_set_fail(machine: Architecture) -> None:
    assert verdict(machine, READ[machine], audit=0x40000003) == "EPERM"
    assert verdict(machine, 0x40000000 | READ[machine]) == "EPERM"


HEADER = Path(f"/usr/include/{platform.machine()}-linux-gnu/asm/unistd_64.h")


@pytest.mark.skipif(not HEADER.exists(), reason="the kernel's headers are not installed")
def test_the_numbers_of_this_machine_are_the_kernels() -> None:
    machine = architecture()
    assert machine is not None
    theirs = {name: int(number) for name, number in re.findall(r"__NR_(\w+) (\d+)", HEADER.read_text())}
    assert {name: theirs.get(name, number) for name, number in denied(machine).items()} == denied(machine)
