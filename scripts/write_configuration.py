"""Write docs/configuration.md from the settings; a test holds it up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from market_assets.settings import Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"

_INTRODUCTION = """\
# Configuration

Written by `scripts/write_configuration.py` from `market_assets/settings.py`; do not edit.

Every setting is an environment variable; an empty one counts as unset. A bad value is refused at start, with the
variable, its value and the remedy. `market-assets doctor` checks what the settings lead to.
"""

_DATABASES = """\
`DATABASE_URL`, else `MYSQL_*`, else `POSTGRES_*`, else a SQLite file in the working directory: `market.db`, or
`simulated.db` where `YAHOO_BASE_URL` is set. Passwords are never printed or logged. In a URL, percent-encode special
characters of the password."""

_ALERTS = """\
Set them alike for Dagster and for `market-assets watch`. `market-assets alerts test` tries every entry of `ALERT_URLS`.
URLs are never printed or logged: a target is called by its scheme, the second of a scheme `json#2`. How to write one
for each service: <https://appriseit.com/services/>. The [runbook](runbook.md) says what each alert means."""

#: heading, what to know, first setting of the group; the groups follow the order of the settings
_GROUPS = (
    ("What is collected", "", "collection_interval_minutes"),
    ("The source", "", "yfinance_request_delay"),
    ("The database", _DATABASES, "database_url"),
    ("One collection at a time", "", "collection_lock_wait_seconds"),
    ("Dagster's runs", "", "run_retention_days"),
    ("Alerts", _ALERTS, "alert_urls"),
    ("The HTTP API", "", "database_read_url"),
)

_OTHERS = """\
## Read by what the collector stands on

| variable | meaning |
|---|---|
| `DAGSTER_HOME` | Absolute path of Dagster's own directory (its runs); unset: `.dagster` in the working directory. |
| `HTTPS_PROXY` | Proxy for requests to Yahoo; not used with `YAHOO_BASE_URL`. |
| `NO_COLOR` | Set to anything: the command line prints without colours. |

No cache directory is needed: nothing is written outside of the database and `DAGSTER_HOME`.
"""


def page() -> str:
    """Return the page."""
    groups = {first: (heading, text) for heading, text, first in _GROUPS}
    lines = [_INTRODUCTION.rstrip()]
    for name, field in Settings.model_fields.items():
        if name in groups:
            heading, text = groups[name]
            lines += ["", f"## {heading}", "", *([text, ""] if text else [])]
            lines += ["| variable | default | allowed | meaning |", "|---|---|---|---|"]
        lines.append(f"| `{name.upper()}` | {_default(field)} | {_allowed(field)} | {field.description} |")
    return "\n".join([*lines, "", _OTHERS])


def _default(field: FieldInfo) -> str:
    return "" if field.default is None else f"`{_number(field.default)}`"


def _allowed(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "allowed" in extra:
        return str(extra["allowed"])
    bounds: dict[str, object] = {}
    for constraint in field.metadata:
        for kind in ("gt", "ge", "le"):
            if hasattr(constraint, kind):
                bounds[kind] = getattr(constraint, kind)
    low = (
        f"above {_number(bounds['gt'])}"
        if "gt" in bounds
        else f"from {_number(bounds['ge'])}"
        if "ge" in bounds
        else ""
    )
    high = f"to {_number(bounds['le'])}" if "le" in bounds else ""
    if low or high:
        return f"{low} {high}".strip()
    return "secret" if field.annotation == (SecretStr | None) else "text"


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
