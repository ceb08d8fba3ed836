"""The commands and their help, one line of glue each.

Belongs here: the Typer application and the parsing of arguments. Does not belong here: the commands' work, which is
imported only when a command runs, so that `--help` and `features` are quick.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - Typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from market_assets.analysis.definitions import Definition, Pairing, ReturnKind, Sampling
from market_assets.cli.alerts import app as alerts_app
from market_assets.cli.verify import End, Start
from market_assets.cli.verify import app as verify_app

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    name="market-assets",
    help=(
        "Traditional-market features for crypto models, correct as they could be known at that moment.\n\n"
        "Settings are environment variables; docs/configuration.md lists them. All times are UTC. Exit status: 0 done, "
        "1 failed, 2 bad usage or settings, 130 interrupted."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(verify_app, rich_help_panel="Prove")
app.add_typer(alerts_app, rich_help_panel="Operate")


def _command(panel: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command; its docstring is its help, reflowed (Typer keeps the source's line breaks)."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        paragraphs = (function.__doc__ or "").split("\n\n")
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        app.command(rich_help_panel=panel, help=text)(function)
        return function

    return register


class Picture(StrEnum):
    """How correlations are written."""

    TABLE = "table"
    JSON = "json"
    HTML = "html"
    PNG = "png"


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


def parse_day(text: str | None, option: str) -> date | None:
    """Parse YYYY-MM-DD; raise BadParameter with the remedy."""
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day; write it as YYYY-MM-DD", param_hint=option) from None


def parse_instant(text: str | None, option: str) -> datetime | None:
    """Parse a day or a timezone-aware instant; a day means 00:00 UTC. Naive instants are refused."""
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no time; write a day (2026-01-31) or a time with its zone (2026-01-31T14:30Z)",
            param_hint=option,
        ) from None
    if len(text) == len("2026-01-31"):
        return instant.replace(tzinfo=UTC)
    if instant.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no time zone; write {text}Z for UTC", param_hint=option)
    return instant.astimezone(UTC)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"market-assets {version('market-assets')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@_command("Start here")
def quickstart(
    probe_seconds: Annotated[
        float,
        typer.Option(min=0.1, max=60.0, metavar="SECONDS", help="How long to wait for Yahoo's first answer."),
    ] = 4.0,
) -> None:
    """Collect once and show the features.

    Collects from Yahoo into market.db. Where Yahoo cannot be reached, the built-in simulator stands in for it and the
    rows go to simulated.db. With YAHOO_BASE_URL set, that server is used, whatever it answers.
    """
    from market_assets.cli.quickstart import quickstart as run

    raise typer.Exit(run(probe_seconds))


@_command("Collect")
def collect(
    start: Annotated[
        Optional[str], typer.Option("--start", metavar="DAY", help="First UTC day to load, e.g. 2026-01-31.")  # noqa: UP045
    ] = None,
    end: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--end", metavar="DAY", help="Last UTC day to load, included. Default: today."),
    ] = None,
    accept_deletions: Annotated[
        bool,
        typer.Option("--accept-deletions", help="Believe the source when it withdraws over a fifth of a past day."),
    ] = False,
) -> None:
    """Collect today, or load past days.

    Without options: today, up to now. With --start: every UTC day from there to --end. Yahoo serves 15-minute bars for
    60 days and hourly bars for 730; older days have daily bars only.
    """
    from market_assets.cli.collect import collect as run

    if end is not None and start is None:
        raise typer.BadParameter("it needs --start; give both, or neither to collect today", param_hint="--end")
    raise typer.Exit(run(parse_day(start, "--start"), parse_day(end, "--end"), accept_deletions))


@_command("Read")
def features(  # noqa: PLR0917 - Typer names them all
    start: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--start", metavar="TIME", help="First observation time, e.g. 2026-01-31 or 2026-01-31T14:30Z."),
    ] = None,
    end: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--end", metavar="TIME", help="End of the range, not included. Default: now."),
    ] = None,
    only: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--only", metavar="FEATURE", help="Show this feature only, e.g. ml_qqq_price; repeatable."),
    ] = None,
    as_of: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--as-of", metavar="TIME", help="Show the rows as they were stored at that time."),
    ] = None,
    format_: Annotated[
        Optional[Format],  # noqa: UP045
        typer.Option("--format", "-f", help="How rows are written. Default: as --out is named, else a table."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", metavar="FILE", help="Write to this file: .csv, .json or .parquet."),
    ] = None,
) -> None:
    """Show the latest feature row, or a range of rows.

    Without --start: the latest row, a line per feature with its age, or the reason why it is NULL. With --start: a line
    per observation time; CSV, JSON and Parquet hold every feature of every row.
    """
    from market_assets.cli.features import features as run

    run(
        start=parse_instant(start, "--start"),
        end=parse_instant(end, "--end"),
        only=only or [],
        as_of=parse_instant(as_of, "--as-of"),
        format_=format_,
        out=out,
    )


@_command("Read")
def correlations(  # noqa: PLR0917 - Typer names them all
    symbol: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--symbol", metavar="SYMBOL", help="Crypto reference, BTC or ETH; repeatable. Default: both."),
    ] = None,
    window: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option(
            "--window",
            min=3,
            metavar="COUNT",
            help="Sessions (or weeks) to look back on; repeatable. Default: 20, 90 and 250 (13, 26 and 52 weeks).",
        ),
    ] = None,
    sampling: Annotated[
        Sampling, typer.Option("--sampling", help="From session to session, or from week to week (Monday to Sunday).")
    ] = Sampling.DAILY,
    returns: Annotated[
        ReturnKind, typer.Option("--returns", help="Logarithm of the ratio of two prices, or the ratio less one.")
    ] = ReturnKind.LOG,
    dividends: Annotated[
        bool, typer.Option("--dividends/--no-dividends", help="Total returns, or returns of the price alone.")
    ] = True,
    pairing: Annotated[
        Pairing,
        typer.Option(
            "--pairing",
            help="Crypto at the ticker's close, or its close of the same UTC date, hours later: the latter for "
            "comparison with published figures only.",
        ),
    ] = Pairing.SESSION,
    end: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--end", metavar="DAY", help="Last session, included. Default: the last one that is over."),
    ] = None,
    as_of: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--as-of", metavar="TIME", help="Use the bars as they were stored at that time."),
    ] = None,
    format_: Annotated[
        Optional[Picture],  # noqa: UP045
        typer.Option("--format", "-f", help="How it is written. Default: as --out is named, else a table."),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", metavar="FILE", help="Write to this file: .json, .html or .png."),
    ] = None,
) -> None:
    """Measure how crypto moves with every ticker.

    Pearson's correlation with its 95 % interval, the rank correlation, and who leads by up to two sessions, beside the
    value that the market is said to have. A heat map with -o correlations.html or .png.
    """
    from market_assets.cli.correlations import Asked
    from market_assets.cli.correlations import correlations as run

    run(
        Asked(
            symbols=tuple(symbol or ()),
            windows=tuple(window or ()),
            definition=Definition(sampling, returns, dividends, pairing),
            end=parse_day(end, "--end"),
            as_of=parse_instant(as_of, "--as-of"),
        ),
        format_,
        out,
    )


@_command("Read")
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False,
) -> None:
    """Show what was collected and what is wrong.

    The latest row, the last collections, each ticker's coverage and last error, the database and its source, open
    alerts. Exit status 1 if it is not healthy: nothing was collected yet, the last collection failed, ticks were
    missed, the latest row has fewer features than ML_FEATURE_COUNT_TARGET, or alerts cannot be posted.
    """
    from market_assets.cli.status import status as run

    raise typer.Exit(run(as_json=as_json))


@_command("Prove")
def revisions(
    start: Start = None,
    end: End = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="LINES", help="Lines of each table.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON, for a program.")] = False,
) -> None:
    """Show which bars and features changed after they were served.

    Compares the first with the latest version of every bar and feature row of the days: what changed, by how much,
    when, and which bars made a row change. Bars that came late are named too. Nothing is lost: both versions stay
    readable.
    """
    from market_assets.cli.proofs import days_asked
    from market_assets.cli.revisions import run_revisions

    days = days_asked(parse_day(start, "--start"), parse_day(end, "--end"))
    raise typer.Exit(run_revisions(days, limit=limit, as_json=as_json))


@_command("Operate")
def doctor() -> None:
    """Check the installation and say how to mend it.

    Looks at settings, database, schema, source, Dagster's directory and the clock. Changes nothing. Exit status 1 if
    anything is wrong.
    """
    from market_assets.cli.doctor import doctor as run

    raise typer.Exit(run())


@_command("Operate")
def watch(
    once: Annotated[bool, typer.Option("--once", help="Look once and exit: for cron.")] = False,
    every: Annotated[
        float, typer.Option("--interval", min=1.0, max=3600.0, metavar="SECONDS", help="Seconds between two looks.")
    ] = 60.0,
) -> None:
    """Tell people when ticks are missed, from outside of Dagster.

    Looks into the database: has a tick succeeded in time? does a message wait that could not be posted? and posts to
    ALERT_URLS. Runs beside Dagster, best on another machine, and shares its memory with Dagster's own sensors: nobody
    is told twice. Exit status with --once: 1 if a post failed or the database cannot be used.
    """
    from datetime import timedelta

    from market_assets.cli.watch import watch as run

    raise typer.Exit(run(once=once, every=timedelta(seconds=every)))


@_command("Operate")
def purge(
    older_than: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--older-than", min=1, metavar="DAYS", help="Keep runs for so many days. Default: the setting."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    location: Annotated[
        str, typer.Option("--location", metavar="NAME", help="The code location whose runs go.")
    ] = "market_assets",
) -> None:
    """Purge Dagster's old runs and their events.

    Never the newest materialization nor the newest check evaluation of an asset partition: what Dagster's UI says of
    partitions stays as it is. May be interrupted, run twice, and run while collections go on. The job purge_runs does
    the same every night (RUN_RETENTION_DAYS).
    """
    from market_assets.cli.purge import purge as run

    run(older_than, location, dry_run=dry_run)


@_command("Operate")
def migrate(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing unless it fails.")] = False,
) -> None:
    """Bring the database's schema to this version.

    Safe to run twice, and from several places at once. Needed once for PostgreSQL and MySQL or MariaDB, and after each
    update; a SQLite file is migrated by itself.
    """
    from market_assets.cli.migrate import migrate as run

    run(quiet=quiet)


@_command("Operate")
def simulate(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Port to listen on; 0 picks a free one.")
    ] = 8765,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="The same seed is the same market.")] = 7,
    now: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--now", metavar="TIME", help="Start the simulated clock there instead of at the real time."),
    ] = None,
    latency_ms: Annotated[
        int, typer.Option(min=0, metavar="MS", help="Delay every answer by so many milliseconds.")
    ] = 0,
) -> None:
    """Serve the Yahoo simulator until Ctrl-C.

    It speaks Yahoo's protocol over an invented market. Point YAHOO_BASE_URL at it to use it from another terminal.
    """
    from market_assets.cli.simulate import simulate as run

    run(host=host, port=port, seed=seed, now=parse_instant(now, "--now"), latency_ms=latency_ms)


@_command("Operate")
def serve(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="PORT", help="Port to listen on.")] = 8000,
) -> None:
    """Serve the HTTP API and the page for people until Ctrl-C.

    Needs `pip install 'market-assets[api]'`. The page is at /, the addresses at /docs. POST /collect wants the bearer
    token API_TOKEN.
    """
    from market_assets.cli.serve import serve as run

    run(host=host, port=port)
