"""The lab's one kind of error: what went wrong and what a person can do about it."""

from __future__ import annotations

from pathlib import Path


class LabError(Exception):
    """Something that a person can act on.

    Attributes:
        remedy: what to do about it, as a sentence or command; may be empty.

    """

    def __init__(self, story: str, *, remedy: str = "") -> None:
        super().__init__(story)
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{super().__str__()}; {self.remedy}" if self.remedy else super().__str__()


def tail(path: Path, lines: int = 15) -> str:
    """The last `lines` lines of a text file, for an error message; empty when there is no such file."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-lines:])
