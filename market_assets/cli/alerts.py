"""`market-assets alerts ...`: what is open, what was said, and whether anybody would hear it.

Belongs here: their options and what is printed of them. Does not belong here: what is worth an alert (`alerts/`).
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from market_assets.alerts.health import AlertHealth
    from market_assets.alerts.posting import Posted
    from market_assets.settings import Settings
    from market_assets.store import AlertKey, AlertMessage, AlertState, Decision

app = typer.Typer(
    name="alerts",
    help="See what is open and what people were told, and try whether they can be told.",
    no_args_is_help=True,
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]


@app.command(
    name="list",
    help=(
        "Show what is open.\n\n"
        "Every check that fails often enough to be told of, since when, with the number and the threshold, and whether "
        "people were told. Exit status 1 if anything is open that is worth telling."
    ),
)
def list_open(as_json: AsJson = False) -> None:
    """Show the open alerts."""
    from market_assets.cli.console import say
    from market_assets.cli.log import load_settings
    from market_assets.cli.status_table import print_alert_health

    settings = load_settings()
    health = _health(settings, "alerts list")
    if as_json:
        sys.stdout.write(json.dumps(health.to_json(), indent=2) + "\n")
    else:
        print_alert_health(health.to_json())
        if not health.open:
            say("Nothing is open.")
    raise typer.Exit(1 if health.telling else 0)


@app.command(
    help=(
        "Post a test message.\n\n"
        "Tries every entry of ALERT_URLS at once and says of each whether it took the message. Exit status 1 if one "
        "did not, or if there is none."
    )
)
def test() -> None:
    """Post a test message to every target."""
    from market_assets.cli.console import escape, say, tell
    from market_assets.cli.log import load_settings

    settings = load_settings()
    posts = _post_test(settings)
    for posted in posts:
        if posted.ok:
            say(f"[green]ok[/]   {escape(posted.target)} took the message")
        else:
            say(f"[red]FAIL[/] {escape(posted.target)}: {escape(posted.error)}")
    if not posts:
        tell("[yellow]Nobody is told.[/] Set ALERT_URLS; docs/configuration.md says how.")
    raise typer.Exit(0 if posts and all(posted.ok for posted in posts) else 1)


@app.command(
    help=(
        "Show the last messages.\n\n"
        "What people were told, newest first, and whom it reached; what waits; and the notes on runs over past days, "
        "which go out with the next message."
    )
)
def log(
    count: Annotated[int, typer.Option("--count", "-n", min=1, metavar="NUMBER", help="How many messages.")] = 20,
    full: Annotated[bool, typer.Option("--full", help="Show their text, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the last messages."""
    from market_assets.cli.console import escape, say
    from market_assets.cli.log import load_settings
    from market_assets.cli.reader import open_to_read

    settings = load_settings()
    store = open_to_read(settings, "alerts log")
    try:
        messages = store.alerts.last_messages(count)
    finally:
        store.close()
    if as_json:
        sys.stdout.write(json.dumps([_plain(message) for message in messages], indent=2) + "\n")
        return
    for message in messages:
        say(f"{message.created_at:%Y-%m-%d %H:%M} {escape(message.title)} [dim]({escape(_fate(message))})[/]")
        if full and message.body:
            say(escape("\n".join(f"    {line}" for line in message.body.splitlines())))
    if not messages:
        say("Nobody was told anything yet.")


def _health(settings: Settings, command: str) -> AlertHealth:
    from market_assets.alerts.health import alert_health
    from market_assets.cli.reader import open_to_read
    from market_assets.clock import SystemClock

    store = open_to_read(settings, command)
    try:
        return alert_health(store, settings, SystemClock().now())
    finally:
        store.close()


def _post_test(settings: Settings) -> list[Posted]:
    """Post to every target; the database, where there is one, takes note of which of them work."""
    from socket import gethostname

    from market_assets.alerts.delivery import observe_posts
    from market_assets.alerts.posting import ApprisePoster
    from market_assets.alerts.targets import Masker, targets_of
    from market_assets.cli.console import escape, tell
    from market_assets.clock import SystemClock
    from market_assets.errors import NoDatabaseError, StoreError
    from market_assets.opening import open_existing
    from market_assets.store import AlertMessage, Decision

    now = SystemClock().now()
    body = (
        f"This is a test from {gethostname()} at {now:%Y-%m-%d %H:%M} UTC. Alerts of the market collector arrive here. "
        f"What each means and what to do: {settings.runbook_url}"
    )
    message = AlertMessage("test", "info", "Market collector: test", body, now)
    poster = ApprisePoster(Masker.of(settings))
    posts = [poster.post(target, message) for target in targets_of(settings)]

    def note(states: Mapping[AlertKey, AlertState], _waiting: Sequence[AlertMessage]) -> Decision:
        # A test that fails is no alert that could not be posted; one that arrives shows that the path works again.
        changed = observe_posts(states, [posted for posted in posts if posted.ok], now)
        kept = [state for state in changed.values() if state is not None]
        return Decision(states=kept, forgotten=[key for key, state in changed.items() if state is None])

    try:
        store = open_existing(settings)
    except NoDatabaseError:
        return posts
    except StoreError as error:
        tell(f"[yellow]The database took no note of it:[/] {escape(str(error))}")
        return posts
    try:
        store.alerts.decide(note)
    finally:
        store.close()
    return posts


def _fate(message: AlertMessage) -> str:
    if message.kind == "note":
        return "told" if message.done_at else "goes out with the next message"
    if message.done_at:
        return f"{', '.join(message.delivered)} at {message.done_at:%H:%M}"
    reached = f"reached {', '.join(message.delivered)}; " if message.delivered else ""
    why = f": {message.last_error}" if message.last_error else ""
    return f"{reached}waits, {message.attempts} attempts{why}"


def _plain(message: AlertMessage) -> dict[str, object]:
    return {
        "at": _text(message.created_at),
        "kind": message.kind,
        "severity": message.severity,
        "title": message.title,
        "body": message.body,
        "delivered": list(message.delivered),
        "done_at": _text(message.done_at) if message.done_at else None,
        "attempts": message.attempts,
        "last_error": message.last_error or None,
    }


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="seconds").replace("+00:00", "Z")
