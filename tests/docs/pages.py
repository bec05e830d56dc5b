"""Read the documentation's pages and the blocks of code in them."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(
    r"^(?:<!-- (?:test: (?P<mark>run|until)|file: (?P<file>[\w./-]+)) -->\n)?"
    r" *```(?P<language>\w+)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        mark: what the comment before it says of its test: ``run`` it; or, on a page that is lived, ``until`` it shows
            what the page shows.
        file: where a reader puts it, as a comment before it says.

    """

    page: str
    line: int
    language: str
    text: str
    mark: str
    file: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> Iterator[list[str]]:
        """Words of each line that a person would type."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield shlex.split(line[2:], comments=True)


def pages() -> list[Path]:
    """Every page that a person reads."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "tests" / "README.md"])


def blocks(*languages: str) -> list[Block]:
    """All blocks of these languages."""
    return [
        Block(
            page=str(page.relative_to(ROOT)),
            line=text.count("\n", 0, found.start("language")) + 1,
            language=found["language"],
            text=textwrap.dedent(found["text"]),
            mark=found["mark"] or "",
            file=found["file"] or "",
        )
        for page in pages()
        for text in [page.read_text("utf-8")]
        for found in _FENCE.finditer(text)
        if found["language"] in languages
    ]
