"""Tables as kubectl prints them: never cut off, coloured only on a terminal and without NO_COLOR."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

GAP = "   "


def render(*rows: Sequence[str]) -> str:
    """Rows below each other, the first as the heading; what is red (see `red`) keeps its place."""
    heading, *others = rows
    cells = [[cell.upper() for cell in heading], *([cell or "-" for cell in row] for row in others)]
    widths = [max(len(click.unstyle(row[column])) for row in cells) for column in range(len(heading))]
    lines = (
        GAP.join(cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True))
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def red(text: str) -> str:
    """What a person should look at. https://no-color.org."""
    return click.style(text, fg="red") if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def mebibytes(count: float) -> str:
    """Bytes for a person."""
    return f"{count / 2**20:.0f}Mi" if count < 2**30 else f"{count / 2**30:.1f}Gi".replace(".0Gi", "Gi")
