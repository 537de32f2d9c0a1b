"""The kernel's sandbox (Landlock) around the engine's process.

Inside it the process reads what the interpreter and the engine need, writes its own directory, starts no program and opens no
connection. The statement scan refuses what it recognises; the kernel refuses what the scan has missed.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_VERSION_FLAG, _PATH_RULE, _NO_NEW_PRIVILEGES = 1, 1, 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_ALL_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_FILE_ONLY = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15
_CONNECT_TCP = 1 << 1

SYSTEM_PATHS = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime",
    "/etc/timezone", "/etc/nsswitch.conf", "/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/gai.conf", "/etc/mime.types",
    "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/loadavg", "/proc/uptime", "/proc/version", "/proc/sys",
    "/proc/diskstats", "/proc/filesystems", "/proc/vmstat", "/sys/fs/cgroup", "/sys/devices", "/sys/block", "/sys/class",
    "/sys/kernel/mm", "/dev/urandom", "/dev/random", "/dev/zero",
)  # fmt: skip
# What the engine reads of its own process: sizes and times. Not the environment, the command line, the memory or the open files.
OWN_PROCESS_FILES = ("maps", "statm", "stat", "status", "auxv", "cgroup", "mountinfo", "loginuid")
WRITABLE_DEVICES = ("/dev/null", "/dev/tty")


def restrict_process(writable: Path, readable: Iterable[Path]) -> str | None:
    """Fence this thread and all that it will start. Returns None, or why the kernel could not.

    Threads that run already are not fenced: call it before any is started.
    """
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} has no Landlock"
    libc = ctypes.CDLL(None, use_errno=True)
    abi = libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    if abi < 1:
        return f"no Landlock here ({os.strerror(ctypes.get_errno())})"
    all_rights = _ALL_BY_ABI[max(supported for supported in _ALL_BY_ABI if supported <= abi)]
    attributes = struct.pack("=QQ", all_rights, _CONNECT_TCP if abi >= 4 else 0)[: 16 if abi >= 4 else 8]
    ruleset = libc.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if ruleset < 0:
        return f"Landlock: {os.strerror(ctypes.get_errno())}"
    try:
        read_rights = _READ_FILE | _READ_DIR
        for path in {*map(Path, SYSTEM_PATHS), *readable}:
            _allow_path(libc, ruleset, path, read_rights)
        for name in OWN_PROCESS_FILES:
            _allow_own_process_file(libc, ruleset, name)
        for path in map(Path, WRITABLE_DEVICES):
            _allow_path(libc, ruleset, path, (_READ_FILE | _WRITE_FILE) & all_rights)
        _allow_path(libc, ruleset, writable, all_rights & ~_EXECUTE)
        if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.syscall(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0)):
            return f"Landlock: {os.strerror(ctypes.get_errno())}"
    finally:
        os.close(ruleset)
    return None


def _allow_path(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no right
    try:
        if not path.is_dir():
            rights &= _FILE_ONLY
        rule = struct.pack("=Qi", rights, descriptor)
        if libc.syscall(_ADD, ctypes.c_int(ruleset), ctypes.c_int(_PATH_RULE), rule, ctypes.c_uint32(0)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    finally:
        os.close(descriptor)


def _allow_own_process_file(libc: ctypes.CDLL, ruleset: int, name: str) -> None:
    try:
        # stays open: the kernel may otherwise forget the entry, and with it the rule
        descriptor = os.open(f"/proc/{os.getpid()}/{name}", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # a kernel without this file
    _allow_path(libc, ruleset, Path(f"/proc/self/fd/{descriptor}"), _READ_FILE)


def interpreter_paths() -> set[Path]:
    """Return the paths that Python still reads after the start: its library, the environment and this project."""
    project = Path(__file__).resolve().parents[2]
    paths = {Path(sys.prefix), Path(sys.base_prefix) / "lib", *(Path(entry) for entry in sys.path if entry)}
    packages = {project / name for name in ("embedded", "runtime")}
    return {path.resolve() for path in paths if path.exists() and path.resolve() != project} | packages
