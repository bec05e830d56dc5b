"""Parent of all processes of one lab: nothing of the lab outlives it.

Run as ``python supervisor.py DIR SOCKET OWNER``: the lab's directory, the inherited listening socket that claims the
lab's network, and the inherited read end of a pipe whose other end the lab's owner holds. Commands come through the
socket, one JSON object per connection, from the same user only.

- Children get the kernel's parent-death signal, so that even kill -9 of this process leaves nothing running.
- Orphans of its children become its own. Those in a session of their own outlive the child, so that containers go on
  while their node's process is restarted; they end with this process, which they see to themselves if it is killed.
- SIGTERM, SIGINT, the command `shutdown`, or the end of OWNER (until the command `keep`) stop all children and remove
  DIR.

It uses the standard library only and one thread: the parent-death signal follows the thread that forked.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
TMP = "/tmp"  # noqa: S108 - nothing is made there: it is hidden
GRACE_SECONDS = 8.0
SWEEP_SECONDS = 2.0


class Supervisor:
    """The children by name, in the order in which they were started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.requests: dict[str, dict[str, Any]] = {}  # how each child was started, to start it again
        self.stopped: set[str] = set()  # by command, in contrast to what has ended by itself
        self.graceful: set[str] = set()
        self.swept: set[str] = set()  # ended, and what they left behind killed
        self.ending = False
        self.owned = True  # ends with its owner

    def command(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request; the answer has `error` if it could not be done."""
        try:
            match request.get("do"):
                case "start":
                    self.start(**request["component"])
                    self.requests[request["component"]["name"]] = request["component"]
                case "start-again":
                    self.start(**self.requests[request["name"]])
                case "stop":
                    self.stop([request["name"]])
                    self.stopped.add(request["name"])
                case "keep":
                    self.owned = False
                case "shutdown":
                    self.ending = True
                case "status":
                    pass
                case other:
                    return {"error": f"unknown command {other!r}"}
        except (OSError, KeyError, TypeError, subprocess.SubprocessError) as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return {"components": self.status()}

    def status(self) -> list[dict[str, Any]]:
        """Every child: name, pid, and its exit code once it has ended (negative: the signal), by command or not."""
        self._reap()
        for name, child in self.children.items():
            if child.poll() is not None:
                self._sweep(name)
        return [
            {"name": name, "pid": child.pid, "exit_code": child.poll(), "stopped": name in self.stopped}
            for name, child in self.children.items()
        ]

    def start(
        self,
        name: str,
        command: list[str],
        env: dict[str, str],
        log: str,
        *,
        graceful: bool,
        own_tmp_but: list[str] | None,
    ) -> None:
        """Start a child in its own session.

        Args:
            name: what it is called.
            command: program and arguments.
            env: the whole environment.
            log: file to which its output is appended.
            graceful: whether to give it time when it is stopped.
            own_tmp_but: unless None, it gets an empty /tmp of its own, in which only these directories remain.

        """
        if name in self.children and self.children[name].poll() is None:
            raise OSError(f"{name} is already running")
        with Path(log).open("ab") as output:
            self.children[name] = subprocess.Popen(
                command,
                env=env,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_before_exec(os.getpid(), own_tmp_but),
            )
        self.swept.discard(name)
        self.stopped.discard(name)
        (self.graceful.add if graceful else self.graceful.discard)(name)

    def stop(self, names: list[str]) -> None:
        """Stop children: the graceful ones first and with time to tidy up, the others at once."""
        running = [name for name in names if self.children[name].poll() is None]
        patient = [self.children[name] for name in running if name in self.graceful]
        for child in patient:
            child.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for child in patient:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
        for name in running:
            self.children[name].kill()
        for name in running:
            self.children[name].wait()
            self._sweep(name)

    def _sweep(self, name: str) -> None:
        """Kill what an ended child has left in its session, as soon as it is reaped.

        Its number is no other's while any process of the session is left, whatever group or parent that has.
        """
        if name in self.swept:
            return
        self.swept.add(name)
        session = self.children[name].pid
        _signal_while_any(lambda process: process.session == session, SWEEP_SECONDS)

    def _reap(self) -> None:
        """Take note of every child that has ended, orphans too."""
        ours = {child.pid: child for child in self.children.values()}
        with contextlib.suppress(ChildProcessError):  # there is no child at all
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                child = ours.get(ended.si_pid)
                child.wait() if child else os.waitpid(ended.si_pid, 0)

    def end(self) -> None:
        """Stop everything and remove the lab's directory."""
        self.stop(list(self.children))
        _signal_while_any(lambda process: process.parent == os.getpid(), SWEEP_SECONDS, signal.SIGTERM)
        _signal_while_any(lambda process: process.parent == os.getpid(), GRACE_SECONDS)
        self._reap()
        _remove(self.directory)


class _Process(NamedTuple):
    pid: int
    parent: int
    session: int


def _signal_while_any(which: Callable[[_Process], bool], seconds: float, number: int = signal.SIGKILL) -> None:
    """Kill until there are none: they may start others meanwhile. What cannot be killed must not hold up the rest."""
    deadline = time.monotonic() + seconds
    while (left := [process.pid for process in _processes() if which(process)]) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        time.sleep(0.01)


def _processes() -> Iterator[_Process]:
    """All processes that run, but for this one; zombies are their parents' to reap."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            # After the name, which may hold anything: state, parent, group, session (proc(5)).
            state, parent, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if state not in "ZX" and pid != os.getpid():
                yield _Process(pid, int(parent), int(session))


def _before_exec(parent: int, own_tmp_but: list[str] | None) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True)

    def before_exec() -> None:
        try:
            if own_tmp_but is not None:
                _enter_own_tmp(libc, own_tmp_but)
        except OSError as error:
            os.write(2, f"supervisor: cannot give it a /tmp of its own: {error}\n".encode())
            os._exit(1)
        # After the above: a change of credentials makes the kernel forget it.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return before_exec


def _enter_own_tmp(libc: ctypes.CDLL, but: list[str]) -> None:
    """Give this process a /tmp that nobody else sees and that goes with it."""
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNS) != 0:  # needs a privilege that everybody has in a user namespace of their own
        _check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "user and mount namespace")
        for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            Path("/proc/self", file).write_text(text)
    _check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "private mounts")
    kept = {path: os.open(path, os.O_PATH) for path in but if Path(path).is_relative_to(TMP)}
    _check(libc.mount(b"tmpfs", os.fsencode(TMP), b"tmpfs", 0, b"mode=1777"), TMP)
    for path, descriptor in kept.items():
        Path(path).mkdir(parents=True, exist_ok=True)
        source = f"/proc/self/fd/{descriptor}".encode()
        _check(libc.mount(source, os.fsencode(path), None, MS_BIND | MS_REC, None), path)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} ({what})")


def _remove(directory: Path) -> None:
    # What a container's processes leave behind may still be going away when its node has just been killed.
    for _ in range(20):
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return
        time.sleep(0.1)


def serve(directory: Path, listener: socket.socket, owner: int) -> None:
    """Run until told to end."""
    _check(ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1), "to take in orphans")
    supervisor = Supervisor(directory)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: setattr(supervisor, "ending", True))
    signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes the loop, which reaps
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        selector.register(owner, selectors.EVENT_READ)
        while not supervisor.ending:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    _answer(listener, supervisor)
                elif key.fileobj == wake_read:
                    os.read(wake_read, 4096)
                    supervisor.status()  # reaps
                else:  # the owner is gone, or has let go: nothing is ever written to that pipe
                    selector.unregister(owner)
                    supervisor.ending |= supervisor.owned
    supervisor.end()


def _answer(listener: socket.socket, supervisor: Supervisor) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(5)
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        uid = struct.unpack("3i", peer)[1]
        if uid not in (os.getuid(), 0):
            return
        # A client that sends nonsense or goes away is its own problem, never the lab's.
        with contextlib.suppress(OSError, ValueError):
            request = json.loads(connection.makefile("rb").readline())
            connection.sendall(json.dumps(supervisor.command(request)).encode() + b"\n")


def _close_all_but(kept: set[int]) -> None:
    """Let go of what the starting process had open for somebody else: a lock, or a pipe whose end is waited for."""
    for descriptor in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if descriptor not in kept:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(descriptor)


def main(arguments: list[str]) -> None:
    """Take over the inherited descriptors and serve."""
    directory, owner = Path(arguments[0]), int(arguments[2])
    listener = socket.socket(fileno=int(arguments[1]))
    own = {listener.fileno(), owner}
    for descriptor in own:
        os.set_inheritable(descriptor, False)
    _close_all_but(own | {0, 1, 2})
    serve(directory, listener, owner)


if __name__ == "__main__":
    main(sys.argv[1:])
