"""Tell a person what is going on: a spinner on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.status import Status

LINE_EVERY_SECONDS = 15.0


class Step(Protocol):
    """Something under way."""

    def update(self, detail: str) -> None:
        """Say how far it is. Call it often (every second or so): it is also the clock of the display."""


class Progress(Protocol):
    """Receives what the lab does, step by step."""

    def step(self, title: str) -> AbstractContextManager[Step]:
        """Show `title` as under way until the context ends."""

    def note(self, text: str) -> None:
        """Show one line that stays."""


class Silent:
    """Shows nothing: for callers that have no person in front of them."""

    def update(self, detail: str) -> None:
        """Nothing."""

    def step(self, title: str) -> AbstractContextManager[Step]:
        """Nothing."""
        return nullcontext(self)

    def note(self, text: str) -> None:
        """Nothing."""


class Lines:
    """One line when a step starts, every 15 s while it lasts, and when a long one ends: for logs."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def note(self, text: str) -> None:
        """Write the line."""
        self._stream.write(text + "\n")
        self._stream.flush()

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Write the title now, and again with the elapsed time while it lasts."""
        started = time.monotonic()
        self.note(f"{title} ...")
        yield _LineStep(self, title, started)
        if time.monotonic() - started >= LINE_EVERY_SECONDS:
            self.note(f"{title}: done in {_elapsed(started)}")


class _LineStep:
    def __init__(self, lines: Lines, title: str, started: float) -> None:
        self._lines, self._title, self._started = lines, title, started
        self._next = started + LINE_EVERY_SECONDS

    def update(self, detail: str) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_EVERY_SECONDS
            self._lines.note(f"{self._title} ... {_elapsed(self._started)}{', ' + detail if detail else ''}")


class Spinner:
    """A spinner with the elapsed time; leaves one line for each step that took a second or more."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)

    def note(self, text: str) -> None:
        """Print the line above the spinner."""
        self._console.print(text, markup=False)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Spin while the context lasts."""
        started = time.monotonic()
        with self._console.status(title) as status:
            yield _SpinnerStep(status, title, started)
        if time.monotonic() - started >= 1:
            self._console.print(f"[green]✓[/] {title} [dim]{_elapsed(started)}[/]")


class _SpinnerStep:
    def __init__(self, status: Status, title: str, started: float) -> None:
        self._status, self._title, self._started = status, title, started

    def update(self, detail: str) -> None:
        self._status.update(f"{self._title} [dim]{_elapsed(self._started)} {detail}[/]")


def for_person() -> Progress:
    """The progress display that suits standard error."""
    return Spinner() if sys.stderr.isatty() else Lines()


def _elapsed(started: float) -> str:
    seconds = int(time.monotonic() - started)
    return f"{seconds // 60} min {seconds % 60:02d} s" if seconds >= 60 else f"{seconds} s"
