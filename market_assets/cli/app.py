"""The commands and their help, one line of glue each.

Belongs here: the Typer application and the parsing of arguments. Does not belong here: the commands' work, which is imported
only when a command runs, so that `--help` and `features` are quick.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer


app = typer.Typer(
    name="market-assets",
    help="Traditional-market features for crypto models, correct as they could be known at that moment.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


def parse_day(text: str) -> date:
    """Parse YYYY-MM-DD; raise BadParameter with the remedy."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day; write it as YYYY-MM-DD, e.g. 2026-01-31") from None


def parse_instant(text: str) -> datetime:
    """Parse a day or a timezone-aware instant; a day means 00:00 UTC. Naive instants are refused."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time; write e.g. 2026-01-31 or 2026-01-31T14:30:00Z") from None
    if len(text) == len("2026-01-31"):
        return instant.replace(tzinfo=UTC)
    if instant.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no time zone; write e.g. {text}Z for UTC")
    return instant.astimezone(UTC)


Start = Annotated[Optional[str], typer.Option("--start", metavar="DAY", help="First UTC day, YYYY-MM-DD.")]  # noqa: UP045 - Typer
End = Annotated[Optional[str], typer.Option("--end", metavar="DAY", help="Last UTC day, included. Default: today.")]  # noqa: UP045
AsOf = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--as-of", metavar="TIME", help="Show what was stored at that time, e.g. 2026-01-31T14:30:00Z."),
]


@app.command(rich_help_panel="Start here")
def quickstart(
    probe_seconds: Annotated[float, typer.Option(help="Seconds to wait for Yahoo before using the simulator.")] = 4.0,
) -> None:
    """Collect once and show the features: from Yahoo, or from the built-in simulator where Yahoo does not answer."""
    from market_assets.cli.quickstart import quickstart as run

    raise typer.Exit(run(probe_seconds))


@app.command(rich_help_panel="Collect")
def collect(
    start: Start = None,
    end: End = None,
    accept_deletions: Annotated[
        bool, typer.Option(help="Accept that the source withdrew more than a fifth of a day that has ended.")
    ] = False,
) -> None:
    """Collect today; with --start, every UTC day from there to --end (a backfill)."""
    from market_assets.cli.collect import collect as run

    if end is not None and start is None:
        raise typer.BadParameter("--end needs --start; give both, or neither to collect today")
    raise typer.Exit(run(parse_day(start) if start else None, parse_day(end) if end else None, accept_deletions))


@app.command(rich_help_panel="Read")
def features(
    start: Annotated[
        Optional[str], typer.Option("--start", metavar="TIME", help="First observation time, included.")
    ] = None,  # noqa: UP045
    end: Annotated[
        Optional[str], typer.Option("--end", metavar="TIME", help="End of the range, not included. Default: now.")
    ] = None,  # noqa: UP045
    only: Annotated[
        Optional[list[str]], typer.Option("--only", metavar="COLUMN", help="Show this feature only; repeatable.")
    ] = None,  # noqa: UP045
    as_of: AsOf = None,
    format_: Annotated[Format, typer.Option("--format", "-f", help="How the rows are written.")] = Format.TABLE,
    out: Annotated[Optional[Path], typer.Option("--out", "-o", help="File to write; needed for parquet.")] = None,  # noqa: UP045
) -> None:
    """Show the latest feature row, or with --start a range of them."""
    from market_assets.cli.features import features as run

    if format_ is Format.PARQUET and out is None:
        raise typer.BadParameter("parquet needs a file: add --out features.parquet")
    run(
        start=parse_instant(start) if start else None,
        end=parse_instant(end) if end else None,
        only=only or [],
        as_of=parse_instant(as_of) if as_of else None,
        format_=format_,
        out=out,
    )


@app.command(rich_help_panel="Read")
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Show the last collections, each ticker's coverage and last error, the counts, the database and the source."""
    from market_assets.cli.status import status as run

    raise typer.Exit(run(as_json=as_json))


@app.command(rich_help_panel="Operate")
def doctor() -> None:
    """Check settings, database, schema, cache directory, the source and the clock; say what to do about each failure."""
    from market_assets.cli.doctor import doctor as run

    raise typer.Exit(run())


@app.command(rich_help_panel="Operate")
def migrate(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing unless it fails.")] = False,
) -> None:
    """Bring the database's schema to this version; safe to run twice and from several places at once."""
    from market_assets.cli.migrate import migrate as run

    run(quiet=quiet)


@app.command(rich_help_panel="Operate")
def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = 8765,
    seed: Annotated[int, typer.Option(help="The market's seed: the same seed is the same market.")] = 7,
    now: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--now", metavar="TIME", help="Let the simulated clock start there instead of at the real time."),
    ] = None,
    latency_ms: Annotated[int, typer.Option(min=0, help="Milliseconds by which every answer is delayed.")] = 0,
) -> None:
    """Serve the Yahoo simulator until interrupted; point YAHOO_BASE_URL at it."""
    from market_assets.cli.simulate import simulate as run

    run(host=host, port=port, seed=seed, now=parse_instant(now) if now else None, latency_ms=latency_ms)
