"""Signs of life: the daily message, and the ping after each good tick.

Belongs here: when and what. Does not belong here: noticing that a sign is missing, which is the receiver's part.
"""

from __future__ import annotations

import http.client
import logging
import urllib.request
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

from market_assets.alerts.messages import body_of, instant, names
from market_assets.alerts.policy import policy_of
from market_assets.alerts.states import is_confirmed
from market_assets.alerts.targets import Masker
from market_assets.collection.catch_up import GOOD_STATUSES
from market_assets.store import NO_CHECK, AlertKey, AlertMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import SecretStr

    from market_assets.alerts.ticks import TickState
    from market_assets.settings import Settings
    from market_assets.store import AlertState, CollectionRecord

_LOG = logging.getLogger(__name__)
#: not a check: when the last daily message was made
HEARTBEAT: AlertKey = (NO_CHECK, "heartbeat")
_PING_SECONDS = 5.0


def heartbeat_due(last: datetime | None, settings: Settings, now: datetime) -> bool:
    """Whether the daily message of the last heartbeat hour is still to be made; `last` is when one was made."""
    if settings.alert_heartbeat_hour is None:
        return False
    hour = datetime.combine(now.date(), time(settings.alert_heartbeat_hour), now.tzinfo)
    if hour > now:
        hour -= timedelta(days=1)
    # One that was turned on in the afternoon begins the next morning.
    return now < hour + timedelta(hours=1) and (last is None or last < hour)


def compose_heartbeat(
    states: Iterable[AlertState],
    last_day: Sequence[CollectionRecord],
    ticks: TickState | None,
    notes: Sequence[AlertMessage],
    now: datetime,
) -> AlertMessage:
    """Return the daily message: ticks of the last 24 hours, the latest row, what is open."""
    began = [run for run in last_day if run.kind == "tick"]
    good = [run for run in began if run.status in GOOD_STATUSES]
    open_now = sorted((state for state in states if is_confirmed(state)), key=lambda one: (one.severity, one.key))
    telling = [state for state in open_now if not policy_of(state.check, state.asset).quiet]
    well = not telling and (ticks is None or not ticks.alarming)
    lines = [f"{len(good)} of {len(began)} ticks of the last 24 hours succeeded."]
    latest = next((run.summary["features"] for run in last_day if run.summary.get("features")), None)
    if latest and "feature_count" in latest:
        lines.append(f"The latest row has {latest['feature_count']} features.")
    by_check: dict[str, list[AlertState]] = {}
    for state in open_now:
        by_check.setdefault(state.check, []).append(state)
    for check, found in by_check.items():
        since = instant(min(one.since for one in found))
        who = names(one.asset for one in found)
        lines.append(f"Open: {check}, {policy_of(check, found[0].asset).says} since {since}: {who}")
    title = f"Market collector: all is well at {instant(now)}" if well else f"Market collector: open at {instant(now)}"
    return AlertMessage("heartbeat", "ok" if well else "warn", title, body_of(["\n".join(lines)], notes), now)


def ping(url: SecretStr, timeout: float = _PING_SECONDS) -> bool:
    """Fetch the dead-man's switch; return whether it answered. A failure is logged, without the URL."""
    try:
        with urllib.request.urlopen(url.get_secret_value(), timeout=timeout):  # noqa: S310 - http(s), by the settings
            return True
    except (OSError, ValueError, http.client.HTTPException) as error:
        _LOG.warning("HEARTBEAT_URL did not answer: %s: %s", type(error).__name__, Masker([url])(str(error)))
        return False
