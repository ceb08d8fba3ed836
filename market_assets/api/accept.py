"""Which format a client wants.

Belongs here: the formats of rows, and the header Accept. Does not belong here: writing them.
"""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus

from market_assets.api.problems import ProblemError


class RowFormat(StrEnum):
    """Formats of rows."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"

    @property
    def media_type(self) -> str:
        """The format's media type."""
        return _MEDIA_TYPES[self]


_MEDIA_TYPES = {
    RowFormat.JSON: "application/json",
    RowFormat.CSV: "text/csv",
    RowFormat.PARQUET: "application/vnd.apache.parquet",
    RowFormat.ARROW: "application/vnd.apache.arrow.stream",
}


def wanted_format(accept: str) -> RowFormat:
    """Return the format that an Accept header likes best; of equal ones the more exact, then the first above.

    Raises:
        ProblemError: none of them will do.
    """
    best: tuple[float, int, int] | None = None
    chosen = None
    ranges = [_range(part) for part in accept.split(",") if part.strip()] or [("*/*", 1.0)]
    for order, form in enumerate(RowFormat):
        matching = [
            (exactness, quality)
            for pattern, quality in ranges
            if (exactness := _exactness(pattern, form.media_type)) is not None
        ]
        # The most exact range that fits a type decides about it.
        exactness, quality = max(matching, default=(0, 0.0))
        if quality > 0 and (best is None or (quality, exactness, -order) > best):
            best, chosen = (quality, exactness, -order), form
    if chosen is None:
        known = ", ".join(form.media_type for form in RowFormat)
        raise ProblemError(HTTPStatus.NOT_ACCEPTABLE, f"Accept names none of {known}")
    return chosen


def _range(part: str) -> tuple[str, float]:
    pattern, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return pattern, min(max(float(value), 0.0), 1.0)
            except ValueError:
                return pattern, 0.0
    return pattern, 1.0


def _exactness(pattern: str, media_type: str) -> int | None:
    """Return how exactly a range names a type, None if it does not."""
    if pattern == media_type:
        return 2
    if pattern == f"{media_type.partition('/')[0]}/*":
        return 1
    return 0 if pattern == "*/*" else None
