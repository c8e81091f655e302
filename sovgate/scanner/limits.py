"""What a child that reads hostile files may do: read what it is given, and answer. Nothing else.

Runs in the child, before the first file. Where the system cannot, the rest holds still: limits of
memory, time and descriptors everywhere; on Linux no system call but those that reading takes.
"""

from __future__ import annotations

import contextlib
import platform
import resource
import struct
import sys

MEMORY = 1024 * 1024 * 1024
#: Processor time for one file: as much as this, and for so many bytes of it one second more.
SECONDS, BYTES_A_SECOND, MOST_SECONDS = 5, 2 * 1024 * 1024, 900
#: The channel, two that lead nowhere, and the one file that is looked at.
DESCRIPTORS = 8

#: By machine: its mark, and the numbers of the system calls that are let through, in the order of
#: read, write, close, fstat, lseek, mmap, mprotect, munmap, brk, mremap, madvise, rt_sigaction,
#: rt_sigprocmask, rt_sigreturn, pread64, sched_yield, recvmsg, recvfrom, sendto, sendmsg, exit,
#: exit_group, fcntl, gettimeofday, getrlimit, setrlimit, prlimit64, getrusage, clock_gettime,
#: clock_nanosleep, futex, getrandom, sigaltstack, newfstatat, tgkill, getpid, gettid.
_CALLS = {
    "x86_64": (
        0xC000003E,
        "0 1 3 5 8 9 10 11 12 25 28 13 14 15 17 24 47 45 44 46 60 231 72 96 97 160 302 98 228 230"
        " 202 318 131 262 234 39 186",
    ),
    "aarch64": (
        0xC00000B7,
        "63 64 57 80 62 222 226 215 214 216 233 134 135 139 67 124 212 207 206 211 93 94 25 169 163"
        " 164 261 165 113 115 98 278 132 79 131 172 178",
    ),
}
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # EPERM


def confine() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    with contextlib.suppress(OSError, ImportError, AttributeError):
        _filter_calls()
    sys.addaudithook(_audit)


def allow_time(size: int) -> None:
    """Processor time for the next file; past it the system ends this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime) + 1
    most = used + min(SECONDS + size // BYTES_A_SECOND, MOST_SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))


_FORBIDDEN = ("open", "os.", "socket.", "subprocess.", "exec", "compile", "ctypes.", "shutil.")


def _audit(event: str, _arguments: tuple[object, ...]) -> None:
    """What Python itself tells of, on every system."""
    if event.startswith(_FORBIDDEN) or event == "pickle.find_class":
        raise PermissionError(event)


def _filter_calls() -> None:
    """seccomp: every system call that is not listed fails with EPERM."""
    known = _CALLS.get(platform.machine())
    if known is None or sys.platform != "linux":
        return
    import ctypes

    machine, calls = known
    code = [(0x20, 0, 0, 4), (0x15, 1, 0, machine), (0x06, 0, 0, _REFUSE), (0x20, 0, 0, 0)]
    for number in map(int, calls.split()):
        code += [(0x15, 0, 1, number), (0x06, 0, 0, _ALLOW)]
    code.append((0x06, 0, 0, _REFUSE))
    program = b"".join(struct.pack("<HBBI", *step) for step in code)
    held = ctypes.create_string_buffer(program, len(program))
    head = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(held)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) == 0:  # PR_SET_NO_NEW_PRIVS
        libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(head)), 0, 0)  # PR_SET_SECCOMP, filter
