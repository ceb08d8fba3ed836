"""The two consoles that every command prints to.

Belongs here: where output goes. Does not belong here: what is printed.
"""

from __future__ import annotations

from rich.console import Console

#: results
output = Console()
#: progress, warnings and errors, so that results can be piped
errors = Console(stderr=True)
