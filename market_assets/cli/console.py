"""The two consoles that every command prints to, and how prose and tables are laid out on them.

Belongs here: where output goes, widths and wrapping. Does not belong here: what is printed.

On a terminal prose is wrapped at words; anywhere else a sentence stays one line, for logs and for grep. Texts handed to
these functions may hold Rich markup; whatever comes from outside (errors, names, URLs) goes through `escape` first.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

__all__ = ["errors", "escape", "output", "program", "say", "tell"]

#: columns of tables that are piped or written to a file: nothing is lost to the width of a screen that is not there
_WIDE = 200


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WIDE
    return console


#: results
output = _console(stderr=False)
#: progress, warnings and errors, so that results can be piped
errors = _console(stderr=True)


def say(text: str = "") -> None:
    """Print a sentence of the result."""
    output.print(text, soft_wrap=not output.is_terminal)


def tell(text: str) -> None:
    """Print a sentence for the person at the terminal, on standard error."""
    errors.print(text, soft_wrap=not errors.is_terminal)


def program() -> str:
    """Return what to type to call this program again: its name if the shell finds it, else its path."""
    called = Path(sys.argv[0])
    found = shutil.which(called.name)
    if called.name != "market-assets" or (found is not None and Path(found).resolve() == called.resolve()):
        return "market-assets"
    try:
        return str(called.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(called.absolute())
