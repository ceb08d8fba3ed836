"""Small pictures of numbers, in text: a line of blocks, a Markdown table.

Belongs here: drawing. Does not belong here: choosing what is shown, and how Dagster shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SPARKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Return the last `width` finite values as a line of block characters, lowest to highest."""
    finite = [value for value in values if value == value and abs(value) != float("inf")][-width:]  # noqa: PLR0124 - NaN
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0
    return "".join(_SPARKS[min(len(_SPARKS) - 1, int((value - low) / span * len(_SPARKS)))] for value in finite)


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; missing values are a dash, numbers have six digits, instants no seconds."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN and NaT
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if hasattr(value, "strftime"):
        return str(value.strftime("%Y-%m-%d %H:%M" if hasattr(value, "hour") else "%Y-%m-%d"))
    return str(value)
