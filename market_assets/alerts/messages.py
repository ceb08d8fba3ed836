"""What people read: one message for all that is told at once, bounded, worst first.

Belongs here: wording and bounds, pure. Does not belong here: deciding what is told (telling.py), posting.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from market_assets.alerts.evaluations import RUN_FAILED, rank
from market_assets.alerts.policy import policy_of, same_cause
from market_assets.alerts.telling import Change, Turn
from market_assets.store import AlertMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    from market_assets.settings import Settings
    from market_assets.store import AlertState

#: characters of a message's body: what a phone shows without scrolling far, and less than any service's limit
BODY_LIMIT = 1500
TITLE_LIMIT = 120
_DETAIL_LIMIT = 160
_NAMES_LIMIT = 120
_NAME = "Market collector"
_ORDER = (Turn.BROKE, Turn.WORSE, Turn.FLAPPED, Turn.RETIRED, Turn.RECOVERED)
_BAD = frozenset({Turn.BROKE, Turn.WORSE})
#: lines of a digest
_OLDEST, _NEWEST = 3, 7
#: more waiting messages than this go out as one
SINGLE_MESSAGES = 3


@dataclass(frozen=True, slots=True)
class Links:
    """Where a message points to."""

    ui: str | None
    runbook: str

    @classmethod
    def of(cls, settings: Settings) -> Links:
        """Return the links that the settings name."""
        return cls(settings.dagster_ui_url, settings.runbook_url)

    def run(self, run_id: str) -> str:
        """Return the link to a run, or its id."""
        return f"{self.ui}/runs/{run_id}" if self.ui else run_id

    def section(self, check: str) -> str:
        """Return the link to a check's section of the runbook."""
        return f"{self.runbook}#{check}"


def compose(
    changes: Sequence[Change], notes: Sequence[AlertMessage], now: datetime, links: Links
) -> AlertMessage | None:
    """Return the message that tells `changes`, with a line for the `notes`; None if nothing changed."""
    if not changes:
        return None
    ordered = sorted(changes, key=lambda change: (_group_key(change), change.state.asset))
    groups = [list(group) for _, group in groupby(ordered, key=_group_key)]
    more = len(groups) - 1
    title = f"{_NAME}: {_headline(groups[0])}"
    if more:
        others = f"; and {more} other alert{'s' if more > 1 else ''}"
        title = shortened_text(title, TITLE_LIMIT - len(others)) + others
    worst = max((rank(change.state.severity) for change in changes if change.turn in _BAD), default=0)
    recovered = all(change.turn is Turn.RECOVERED for change in changes)
    severity = ("ok" if recovered else "info", "warn", "error")[worst]
    blocks = [_block(group, now, links) for group in groups]
    return AlertMessage("alert", severity, shortened_text(title, TITLE_LIMIT), body_of(blocks, notes), now)


def body_of(blocks: Sequence[str], notes: Sequence[AlertMessage] = ()) -> str:
    """Return the blocks, and one line for the notes, in at most BODY_LIMIT characters; what is left out is counted."""
    tail = _noted(notes)
    room = BODY_LIMIT - (len(tail) + 2 if tail else 0)
    kept: list[str] = []
    for number, block in enumerate(blocks):
        left_out = len(blocks) - number
        more = f"... and {left_out} more: market-assets alerts list"
        taken = sum(len(one) + 2 for one in kept)
        is_last = left_out == 1
        if taken + len(block) + (0 if is_last else len(more) + 2) > room:
            kept.append(more)
            break
        kept.append(block)
    return "\n\n".join([*kept, *([tail] if tail else [])])


def digest(messages: Sequence[AlertMessage], now: datetime) -> AlertMessage:
    """Return one message that stands for several which could not be posted in time."""
    first, last = messages[0].created_at, messages[-1].created_at
    title = f"{_NAME}: {len(messages)} messages that could not be posted before"
    worst = max(messages, key=lambda one: ("info", "ok", "warn", "error").index(one.severity)).severity
    head = f"{len(messages)} messages from {instant(first)} to {instant(last)} could not be posted until now:"
    lines = [f"{instant(one.created_at)} {one.title.removeprefix(_NAME + ': ')}" for one in messages]
    # The newest say how things stand; the oldest how it began.
    if len(lines) > _OLDEST + _NEWEST:
        lines = [*lines[:_OLDEST], "...", *lines[-_NEWEST:]]
    body = shortened_text("\n".join([head, *lines]), BODY_LIMIT - 80)
    return AlertMessage("digest", worst, title, f"{body}\n\nAll of them: market-assets alerts log", now)


def note_of(text: str, run_id: str, now: datetime) -> AlertMessage:
    """Return a note: one line for the next message, one per run."""
    return AlertMessage("note", "info", shortened_text(text, 200), "", now, id=f"note-{run_id}")


def shortened_text(text: str, room: int) -> str:
    """Return `text` in at most `room` characters."""
    return text if len(text) <= room else text[: room - 3].rstrip() + "..."


def names(assets: Iterable[str], room: int = _NAMES_LIMIT) -> str:
    """Return the assets' own names, as many as fit, and how many more there are."""
    own = [asset.rpartition("/")[2] for asset in assets]
    for kept in range(len(own), 1, -1):
        text = ", ".join(own[:kept]) + (f" and {len(own) - kept} more" if kept < len(own) else "")
        if len(text) <= room:
            return text
    return own[0] + (f" and {len(own) - 1} more" if len(own) > 1 else "")


def instant(at: datetime) -> str:
    """Return an instant to the minute, UTC."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def lasted(span: timedelta) -> str:
    """Return a span as `40 min`, `5 h 10 min` or `2 d 3 h`."""
    minutes = int(span.total_seconds() // 60)
    days, hours, rest = minutes // 1440, minutes % 1440 // 60, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {rest} min" if hours else f"{rest} min"


def _group_key(change: Change) -> tuple[bool, int, int, str, str]:
    """Return what is told together, in the order of telling: what needs a person first, errors before warnings."""
    state = change.state
    is_bad = change.turn in _BAD
    # A run's failure has a text of its own.
    cause = state.asset if state.check == RUN_FAILED else same_cause(state.cause) if is_bad else ""
    severity = rank(state.severity) if is_bad else 0
    return (not is_bad, -severity, _ORDER.index(change.turn), state.check, cause)


def _headline(group: Sequence[Change]) -> str:
    change = group[0]
    who = names(sorted(one.state.asset for one in group), 40)
    return f"{_word(change)} {change.state.check} {change.turn}: {who}"


def _word(change: Change) -> str:
    if change.turn in _BAD:
        return change.state.severity.upper()
    return "OK" if change.turn is Turn.RECOVERED else "INFO"


def _block(group: Sequence[Change], now: datetime, links: Links) -> str:
    change = group[0]
    state = change.state
    assets = sorted(one.state.asset for one in group)
    who = f"{len(group)} assets: {names(assets)}" if len(group) > 1 else names(assets)
    says = policy_of(state.check, state.asset).says
    lines = [f"{_word(change)} {state.check} {change.turn}: {who}"]
    if change.turn in _BAD:
        since = min(one.state.since for one in group)
        lines.append(f"{says} since {instant(since)}{_flaps(group)}; {_numbers(state)}")
        lines.append(shortened_text(state.detail, _DETAIL_LIMIT))
        if state.run_id:
            lines.append(f"run: {links.run(state.run_id)}")
        lines.append(f"what to do: {links.section(state.check)}")
    elif change.turn is Turn.RECOVERED:
        began = min(one.state.told_since or one.state.since for one in group)
        ended = max(one.state.since for one in group)
        lines.append(f"it was: {says} from {instant(began)}, for {lasted(ended - began)}{_flaps(group)}")
        if state.observed:
            lines.append(f"now {_numbers(state)}")
    elif change.turn is Turn.FLAPPED:
        told_at = min(one.state.told_at or now for one in group)
        lines.append(f"{says}, {sum(one.state.flaps for one in group)} times since {instant(told_at)}; it is well now")
        lines.append(f"what to do: {links.section(state.check)}")
    else:
        lines.append(f"last evaluated {instant(state.evaluated_at)}; it is no longer counted as open")
    return "\n".join(line for line in lines if line)


def _numbers(state: AlertState) -> str:
    return f"observed {state.observed or 'nothing'}, threshold {state.threshold or 'none'}"


def _flaps(group: Sequence[Change]) -> str:
    flaps = max(change.state.flaps for change in group)
    return f", came and went {flaps} times before that" if flaps > 1 else ""


def _noted(notes: Sequence[AlertMessage]) -> str:
    if not notes:
        return ""
    if len(notes) == 1:
        return f"Also: {notes[0].title}"
    return shortened_text(f"Also, {len(notes)} runs over past days, the last: {notes[-1].title}", 280)
