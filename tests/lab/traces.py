"""Everything that a lab could leave behind on a machine, so that two moments can be compared.

Others work on the machine meanwhile: processes are those that descend from this one, for which it adopts orphans
(`adopt_orphans`); files are those below directories of our own; of the rest, what a living stranger holds is theirs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36
SETTLE_SECONDS = 15.0


def adopt_orphans() -> None:
    """Become the parent of all descendants whose own parent ends: whatever they do, they stay below this process."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


@dataclass(frozen=True)
class Traces:
    """What there is at one moment.

    Attributes:
        processes: descendants of this one.
        descriptors: what this process has open.
        mounts: below the directories, or of a kind that a lab makes.
        files: below the directories, whatever their type.
        ports: listening addresses on the lab networks that no stranger holds.
        names: abstract Unix sockets of ours that no stranger holds.
        memory: shared memory that no stranger holds.
        interfaces: network interfaces and named network namespaces.
        groups: cgroups with our name in theirs.

    """

    processes: frozenset[str]
    descriptors: frozenset[str]
    mounts: frozenset[str]
    files: frozenset[str]
    ports: frozenset[str]
    names: frozenset[str]
    memory: frozenset[str]
    interfaces: frozenset[str]
    groups: frozenset[str]

    @classmethod
    def of(cls, *directories: Path) -> Traces:
        """What there is now."""
        ours = {os.getpid(), *(process.pid for process in psutil.Process().children(recursive=True))}
        return cls(
            processes=frozenset(_processes()),
            descriptors=frozenset(_descriptors()),
            mounts=frozenset(_mounts(directories)),
            files=frozenset(str(path) for directory in directories for path in directory.rglob("*")),
            ports=frozenset(_ports(ours)),
            names=frozenset(_names()),
            memory=frozenset(_shared_memory(ours)),
            interfaces=frozenset(_interfaces()),
            groups=frozenset(str(path) for path in Path("/sys/fs/cgroup").rglob("*spotmix*")),
        )

    def more_than(self, before: Traces) -> list[str]:
        """What there is now and was not then, a line each."""
        then = asdict(before)
        return [f"{kind}: {each}" for kind, now in asdict(self).items() for each in sorted(now - then[kind])]


def left_since(before: Traces, *directories: Path, settle_seconds: float = SETTLE_SECONDS) -> list[str]:
    """What is still there when what is ending has had the time to."""
    deadline = time.monotonic() + settle_seconds
    while True:
        _reap()
        left = Traces.of(*directories).more_than(before)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _processes() -> Iterator[str]:
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            yield f"{process.pid} {process.status()} {' '.join(process.cmdline())[:200] or process.name()}"


def _descriptors() -> Iterator[str]:
    for entry in _entries(Path("/proc/self/fd")):
        if (target := _link(entry)) not in {"", f"/proc/{os.getpid()}/fd"}:  # gone, or the one that lists them
            yield f"{entry.name} -> {target}"


def _mounts(directories: tuple[Path, ...]) -> Iterator[str]:
    """Lines of mountinfo (proc(5)), without their numbers."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target = line.split()[4].replace("\\040", " ")
        if "spotmix" in line or any(Path(target).is_relative_to(directory) for directory in directories):
            yield " ".join(line.split()[3:])


def _ports(ours: set[int]) -> Iterator[str]:
    for each in psutil.net_connections("inet"):
        if each.laddr and each.status in {psutil.CONN_LISTEN, psutil.CONN_NONE} and each.pid in {None, *ours}:
            address, port = each.laddr
            if _is_of_a_lab(address):
                yield f"{each.type.name} {address}:{port}"


def _is_of_a_lab(address: str) -> bool:
    first, _, rest = address.partition(".")
    return first == "127" and not rest.startswith("0.0.")


def _names() -> Iterator[str]:
    """Abstract sockets of lab supervisors that were started below this process."""
    held = {
        _link(entry).removeprefix("socket:[").removesuffix("]")
        for process in psutil.process_iter()
        if process.pid != os.getpid() and not _descends(process)
        for entry in _entries(Path(f"/proc/{process.pid}/fd"))
    }
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if len(fields) == 8 and fields[7].startswith("@spotmix") and fields[6] not in held:
            yield fields[7]


def _descends(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return os.getpid() in {parent.pid for parent in process.parents()}
    return True


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _link(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""


def _shared_memory(ours: set[int]) -> Iterator[str]:
    for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        fields = line.split()
        creator = int(fields[4])
        if creator in ours or not psutil.pid_exists(creator):
            yield f"System V {fields[1]}"
    mapped = {
        line.split(maxsplit=5)[5]
        for process in psutil.process_iter()
        if process.pid not in ours
        for line in _lines(Path(f"/proc/{process.pid}/maps"))
        if "/dev/shm/" in line
    }
    yield from (str(path) for path in Path("/dev/shm").iterdir() if str(path) not in mapped)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def _interfaces() -> Iterator[str]:
    for directory in (Path("/sys/class/net"), Path("/run/netns")):
        yield from (str(path) for path in _entries(directory))
