"""`market-assets verify ...`: the proofs.

Belongs here: their options and what is printed of them, a few lines each. Does not belong here: the proofs.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads it at run time
from typing import Annotated, Optional

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


Start = Annotated[Optional[str], typer.Option("--start", metavar="DAY", help="First UTC day. Default: today.")]  # noqa: UP045
End = Annotated[Optional[str], typer.Option("--end", metavar="DAY", help="Last UTC day, included. Default: today.")]  # noqa: UP045
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]


@app.command(
    help=(
        "Show that no row saw its future.\n\n"
        "Computes every row served on the days again from the log, after everything that was not available at its "
        "time, or not known when it was served, has been scrambled, deleted and added to. A row that is not the same "
        "to the last bit is a look-ahead, and is named."
    )
)
def lookahead(
    start: Start = None,
    end: End = None,
    sample: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--sample", min=1, metavar="ROWS", help="Judge so many rows, drawn at random. Default: all."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="NUMBER", help="Of the draw and of the scrambling.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Run the look-ahead gate on served rows."""
    from market_assets.cli.app import parse_day
    from market_assets.cli.proofs import days_asked, run_lookahead

    days = days_asked(parse_day(start, "--start"), parse_day(end, "--end"))
    raise typer.Exit(run_lookahead(days, sample=sample, seed=seed, as_json=as_json))


@app.command(
    help=(
        "Show that what was served can be made again.\n\n"
        "Computes every row served on the days again from the stored bars, as they were known when it was computed, "
        "and compares every bit. Says the share that is identical and names the first difference, down to the bars "
        "behind it. Exit status 1 if any row differs, or if there was none to compare."
    )
)
def replay(
    start: Start = None,
    end: End = None,
    all_versions: Annotated[
        bool, typer.Option("--all-versions", help="Replay the later versions of each row too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replay served rows."""
    from market_assets.cli.app import parse_day
    from market_assets.cli.proofs import days_asked, run_replay

    days = days_asked(parse_day(start, "--start"), parse_day(end, "--end"))
    raise typer.Exit(run_replay(days, every_version=all_versions, as_json=as_json))
