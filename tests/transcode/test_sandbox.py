"""What a confined process can still do, tried by a program of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from livestream.transcode.sandbox import clean_environment
from livestream.transcode.seccomp import architecture

TRIES = """
import ctypes, errno, json, os, resource, signal, socket, subprocess, sys, tempfile, threading
from livestream.transcode.sandbox import confine, free_memory, grant_memory, granted_memory

read_end, write_end = os.pipe()
listening = socket.create_server(("127.0.0.1", 0))
apart = socket.socket()
folder = tempfile.gettempdir()
unfiltered = confine(1 << 30, 2 << 30)
libc = ctypes.CDLL(None, use_errno=True)

def libc_call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)

def in_a_thread():
    done = []
    thread = threading.Thread(target=done.append, args=("done",))
    thread.start()
    thread.join()
    return done[0]

def many_files():
    kept = []
    while True:
        kept.append(open("/proc/self/stat"))

def granted(size):
    grant_memory(size)
    return granted_memory()

tries = {
    "socket": socket.socket, "socketpair": socket.socketpair, "connect": lambda: apart.connect(listening.getsockname()),
    "bind": lambda: apart.bind(("127.0.0.1", 0)), "listen": apart.listen, "accept": listening.accept,
    "fork": os.fork, "execve": lambda: os.execv(sys.executable, [sys.executable]),
    "posix_spawn": lambda: os.posix_spawn(sys.executable, [sys.executable], {}),
    "subprocess": lambda: subprocess.run([sys.executable]), "vfork": lambda: libc_call("vfork"),
    "ptrace": lambda: libc_call("ptrace", 16, os.getppid(), 0, 0),
    "process_vm_readv": lambda: libc_call("process_vm_readv", os.getppid(), 0, 0, 0, 0, 0),
    "signal to the parent": lambda: os.kill(os.getppid(), 0), "signal to the group": lambda: os.kill(0, 0),
    "limits of the parent": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE),
    "a new file": lambda: open(folder + "/confined", "w"), "an old file": lambda: open(__file__, "r+"),
    "unlink": lambda: os.unlink("/nonexistent"), "mkdir": lambda: os.mkdir("/nonexistent/folder"),
    "io_uring": lambda: libc_call("syscall", 425, 1, 0),
    "many files": many_files,
    "more memory": lambda: len(bytearray(1100 << 20)), "memory": lambda: len(bytearray(400 << 20)),
    "granted": lambda: granted(1200 << 20), "granted too much": lambda: granted(3 << 30),
    "thread": in_a_thread, "reading": lambda: open("/proc/self/stat").read(1) != "",
    "signal": lambda: os.kill(os.getpid(), 0),
    "pipe": lambda: (os.write(write_end, b"x"), os.read(read_end, 1))[0],
    "core": lambda: resource.getrlimit(resource.RLIMIT_CORE), "size": lambda: resource.getrlimit(resource.RLIMIT_FSIZE),
}
found = {"unfiltered": unfiltered}
for name, attempt in tries.items():
    try:
        found[name] = attempt()
    except OSError as error:
        found[name] = errno.errorcode[error.errno]
    except MemoryError:
        found[name] = "MemoryError"
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """What the program found, each try by its name."""
    path = tmp_path_factory.mktemp("confined") / "tries.py"
    path.write_text(TRIES)
    environment = {**clean_environment({}), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run((sys.executable, str(path)), capture_output=True, timeout=20, check=True, env=environment)
    yield json.loads(done.stdout)


@pytest.mark.skipif(architecture() is None, reason="there is no filter of system calls for this machine")
def test_a_confined_process_reaches_no_network_no_process_and_no_disk(found: dict[str, object]) -> None:
    assert found["unfiltered"] == ""
    denied = ("socket", "socketpair", "connect", "bind", "listen", "accept", "fork", "execve", "posix_spawn",
              "subprocess", "vfork", "ptrace", "process_vm_readv", "signal to the parent", "signal to the group",
              "limits of the parent", "a new file", "an old file", "unlink", "mkdir", "io_uring")  # fmt: skip
    assert {name: found[name] for name in denied} == dict.fromkeys(denied, "EPERM")


def test_a_confined_process_has_so_much_memory_and_so_many_files(found: dict[str, object]) -> None:
    assert (found["many files"], found["more memory"], found["memory"]) == ("EMFILE", "MemoryError", 400 << 20)
    assert (found["granted"], found["granted too much"]) == (1200 << 20, 2 << 30)
    assert (found["core"], found["size"]) == ([0, 0], [0, 0])


def test_a_confined_process_reads_and_has_threads(found: dict[str, object]) -> None:
    allowed = {"thread": "done", "reading": True, "signal": None, "pipe": 1}
    assert {name: found[name] for name in allowed} == allowed


def test_an_environment_keeps_where_things_are_and_the_language_alone() -> None:
    given = {"PATH": "/bin", "LANG": "C.UTF-8", "LC_TIME": "de_DE", "TZ": "UTC", "PYTHONPATH": "/more"}
    secrets = {"LIVESTREAM_CLUSTER_SECRET": "s", "LIVESTREAM_BUS_REDIS": "redis://:p@h", "AWS_SECRET_ACCESS_KEY": "s",
               "HOME": "/root", "LD_PRELOAD": "/x.so"}  # fmt: skip
    kept = clean_environment({**given, **secrets})
    assert kept.pop("PYTHONPATH").endswith(":/more")
    assert kept == {name: value for name, value in given.items() if name != "PYTHONPATH"}
