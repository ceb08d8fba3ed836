"""`market-assets verify ...`: the proofs.

Belongs here: their options and what is printed of them, a few lines each. Does not belong here: the proofs.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads it at run time
from typing import Annotated

import typer

app = typer.Typer(
    name="verify",
    help="Prove what the numbers claim, from the log itself. Exit status 0: proven, 1: not.",
    no_args_is_help=True,
)


@app.command(
    help=(
        "Rebuild an exported data set from the log and compare.\n\n"
        "Reads FILE and the receipt beside it, FILE.receipt.json, and computes every value again from the stored bars, "
        "as they were known when it was made. Says identical, or lists what differs and why, down to the bar."
    )
)
def receipt(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The exported file, or its receipt.")],
) -> None:
    """Verify one receipt."""
    from market_assets.cli.receipt import verify

    raise typer.Exit(verify(file))
