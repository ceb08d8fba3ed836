"""Query parameters: instants, symbols, lists; unknown ones are refused, so that a typing error is not a silent default.

Belongs here: types that routes share. Does not belong here: what is done with them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from market_assets.client.request import as_instant
from market_assets.crypto_join import reference_of
from market_assets.errors import FeatureRequestError, NaiveTimestampError
from market_assets.universe import UNIVERSE

#: a `+` that was not escaped arrives as a blank
_LOST_PLUS = re.compile(r" (\d\d:?\d\d)$")


class Asked(BaseModel):
    """Base of the query parameters of a route."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FeatureSet(StrEnum):
    """Which features a row shows."""

    CORE = "core"
    ALL = "all"


def _instant(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = _LOST_PLUS.sub(r"+\1", value.upper())
    try:
        found = as_instant(text, "time")
    except (FeatureRequestError, NaiveTimestampError):
        raise ValueError("is no time with a zone; write e.g. 2026-01-31 or 2026-01-31T14:30Z") from None
    return found


def _symbol(value: object) -> object:
    reference = reference_of(value) if isinstance(value, str) else None
    if reference is None:
        known = ", ".join(ticker.name for ticker in UNIVERSE.crypto)
        raise ValueError(f"is no crypto reference; known are {known}")
    return reference


def _names(value: object) -> object:
    # A query model hands over every occurrence of the parameter.
    parts = value if isinstance(value, list) else [value]
    return tuple(name for part in parts for name in str(part).split(",")) or None


#: an aware instant; a day means 00:00 UTC of it
Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}),
]
#: name of a crypto reference; other spellings (btc-usd, BTCUSDT) are understood
Symbol = Annotated[
    str,
    BeforeValidator(_symbol),
    WithJsonSchema({"type": "string", "enum": [ticker.name for ticker in UNIVERSE.crypto]}),
]


def text_of(instant: datetime) -> str:
    """Return an instant as it stands in documents: ISO 8601 with Z."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def plain(value: Any) -> Any:  # noqa: ANN401 - a cell
    """Return a cell as JSON has it: instants as text, NaN as null."""
    if isinstance(value, datetime):
        return text_of(value)
    return None if value != value else value  # noqa: PLR0124 - NaN
