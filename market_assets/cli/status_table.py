"""The layout of `market-assets status` for a person.

Belongs here: sentences and tables. Does not belong here: finding out (status.py).
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from rich.table import Table
from rich.text import Text

from market_assets.cli.console import escape, output, say
from market_assets.cli.words import counted, human_age, without_request
from market_assets.collection.calendar_map import LEGEND, MARKS
from market_assets.store import DayState

_DAYS = 14
_STYLES = {
    DayState.OK: "green",
    DayState.CLOSED: "dim",
    DayState.HOLE_AT_SOURCE: "yellow",
    DayState.FETCH_FAILED: "red",
    DayState.REVISED: "cyan",
    DayState.LATE: "yellow",
}
_RUN_STYLES = {"ok": "green", "partial": "yellow", "running": "cyan"}


def print_status(state: dict[str, Any], what_to_do: str) -> None:
    """Print what `gather` found; `what_to_do` is said where there is nothing yet."""
    if state["healthy"]:
        say("[bold green]Healthy.[/]")
    else:
        say(f"[bold red]Not healthy:[/] {escape('; '.join(state['problems']))}.")
    row = state["latest_row"]
    if row is not None:
        met = "met" if row["target_met"] else "[red]missed[/]"
        say(
            f"Latest row: {_minute(row['observed_at'])} UTC, {human_age(row['minutes_old'])} old, "
            f"{row['feature_count']} of {row['of']} features ({row['core_count']} core), target {row['target']} {met}."
        )
    _say_where(state)
    if state["collecting_now"]:
        say(f"[cyan]A collection is running[/] ({escape(state['collecting_now'])}).")
    if state["days_to_catch_up"]:
        first, last = state["days_to_catch_up"]
        days = first if first == last else f"{first} to {last}"
        say(f"[yellow]Not collected since it ended:[/] {days}; the scheduler's next tick does it.")
    if state["stale_feature_days"]:
        say(f"{counted(state['stale_feature_days'], 'feature day')} stood on bars that were revised; rebuilt nightly.")
    print_alert_health(state["alerts"])
    if not state["collections"]:
        say(f"Nothing was collected yet; {escape(what_to_do)}")
        return
    _print_runs(state)
    _print_tickers(state)
    _say_errors(state)
    _say_failed_checks(state)
    if state["highly_correlated"]:
        say(
            f"\nHighly correlated now (at least {state['high_correlation_threshold']:g}, over 20 or 90 sessions): "
            f"{escape(', '.join(state['highly_correlated']))}"
        )


def print_alert_health(alerts: dict[str, Any]) -> None:
    """Print who is told, what is open and what waits, as `AlertHealth.to_json` has it."""
    if alerts["targets"]:
        say(f"Alerts go to: {escape(', '.join(alerts['targets']))}")
    else:
        say("Alerts go to: [yellow]nobody[/] (ALERT_URLS is not set)")
    for broken in alerts["broken"]:
        say(f"[red]Alerts do not reach[/] {escape(broken['asset'])} since {_minute(broken['since'])}")
    if alerts["waiting"]:
        say(f"{counted(alerts['waiting'], 'message')} waiting to be posted since {_minute(alerts['waiting_since'])}.")
    by_check: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in alerts["open"]:
        by_check.setdefault((one["severity"], one["check"]), []).append(one)
    for (severity, check), found in by_check.items():
        since = _minute(min(one["since"] for one in found))
        names = ", ".join(one["asset"].rpartition("/")[2] for one in found)
        style = "red" if severity == "error" else "yellow"
        say(
            f"[{style}]Open: {check}[/] {escape(names)}: {found[0]['says']} since {since}; "
            f"{escape(found[0]['detail'] or found[0]['observed'])}"
        )


def _say_where(state: dict[str, Any]) -> None:
    database = state["database"]
    where = database["file"] or database["url"]
    say(f"Database: {escape(where)} ({database['kind']}, {database['bytes'] / 1e6:.1f} MB)")
    held = state["rows_are_from"]
    if held is None or held == state["configured_source"]:
        say(f"Source: {state['configured_source']}")
    else:
        say(f"Source of the rows: {escape(held)} [dim](a collection now would ask {state['configured_source']})[/]")


def _print_runs(state: dict[str, Any]) -> None:
    table = _table("Collections")
    for title, justify in (
        ("started (UTC)", "left"),
        ("took", "right"),
        ("kind", "left"),
        ("days", "left"),
        ("status", "left"),
        ("tickers", "right"),
        ("features", "right"),
    ):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for run in state["collections"]:
        first, last = run["first_day"], run["last_day"]
        stored = "" if run["tickers"] is None else f"{run['stored']}/{run['tickers']}"
        table.add_row(
            _minute(run["started_at"]),
            "" if run["seconds"] is None else f"{run['seconds']:.0f} s",
            escape(run["kind"]),
            first or "" if first == last else f"{first}..{last}",
            Text(run["status"], _RUN_STYLES.get(run["status"], "red")),
            stored,
            str((run["features"] or {}).get("feature_count", "")),
        )
    output.print(table)


def _print_tickers(state: dict[str, Any]) -> None:
    table = _table("Tickers")
    table.add_column("ticker", no_wrap=True)
    table.add_column(f"last {_DAYS} days", no_wrap=True)
    for interval in ("15m", "1h", "1d"):
        table.add_column(f"{interval} bars", justify="right", no_wrap=True)
    table.add_column("last bar (UTC)", no_wrap=True)
    today = date.fromisoformat(state["at"][:10])
    for name, ticker in state["tickers"].items():
        intervals = ticker["intervals"]
        last = max((interval["last"] for interval in intervals.values()), default="")
        marks = Text()
        for ago in reversed(range(_DAYS)):
            known = ticker["days"].get((today - timedelta(days=ago)).isoformat())
            marks.append(*((MARKS[DayState(known)], _STYLES[DayState(known)]) if known else (" ", "")))
        counts = [
            str(intervals[interval]["bars"]) if interval in intervals else "-" for interval in ("15m", "1h", "1d")
        ]
        table.add_row(Text(name, "red" if ticker["last_error"] else ""), marks, *counts, _minute(last))
    output.print(table)
    say(f"[dim]{LEGEND}[/]")


def _say_errors(state: dict[str, Any]) -> None:
    alike: dict[tuple[str, str], list[str]] = {}
    for name, ticker in state["tickers"].items():
        if ticker["last_error"]:
            # Tickers that failed for one reason differ in the request that the message names.
            reason = without_request(ticker["last_error"]["message"])
            alike.setdefault((ticker["last_error"]["at"], reason), []).append(name)
    if alike:
        say("\n[bold]Not collected when last asked for[/]")
    for (at, reason), names in alike.items():
        say(f"  [red]{escape(', '.join(names))}[/]: {_minute(at)} {escape(reason)}")


def _say_failed_checks(state: dict[str, Any]) -> None:
    done = [run for run in state["collections"] if run["failed_checks"] is not None]
    if done and done[0]["failed_checks"]:
        say(f"\n[bold]Checks that failed in the collection of {_minute(done[0]['started_at'])}[/]")
        for name, what in done[0]["failed_checks"].items():
            say(f"  [yellow]{escape(name)}[/]: {escape(what)}")


def _table(title: str) -> Table:
    say(f"\n[bold]{title}[/]")
    return Table(box=None, pad_edge=False, header_style="dim")


def _minute(text: str) -> str:
    return text[:16].replace("T", " ")
