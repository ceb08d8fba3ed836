"""Which format a command writes: what was asked for, or what the file's name means.

Belongs here: choosing. Does not belong here: writing, and which formats a command has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from market_assets.cli.failures import bad_option

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import StrEnum
    from pathlib import Path

_Format = TypeVar("_Format", bound="StrEnum")


def chosen_format(
    asked: _Format | None,
    out: Path | None,
    *,
    of_suffix: Mapping[str, _Format],
    table: _Format,
    binary: _Format,
    example: str,
) -> _Format:
    """Return the format to write.

    Args:
        asked: by --format.
        out: the file of --out; None is the screen.
        of_suffix: formats of files by suffix, in the order in which they are told.
        table: the format of the screen alone, and its default.
        binary: the format that the screen cannot show.
        example: name of a file of that format.

    Raises:
        BadParameter: the two do not go together, or the file's name does not tell.
    """
    if out is None:
        if asked is binary:
            raise bad_option("--format", f"{binary.value} needs a file; add --out {example}")
        return asked or table
    chosen = asked or of_suffix.get(out.suffix.lower())
    if chosen is None:
        suffixes = _listed([f".{form.value}" for form in dict.fromkeys(of_suffix.values())])
        raise bad_option("--out", f"{out} does not tell the format; end it in {suffixes}, or add --format")
    if chosen is table:
        names = _listed([form.value for form in dict.fromkeys(of_suffix.values())])
        raise bad_option("--format", f"a table is for the screen; choose {names} with --out")
    return chosen


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
