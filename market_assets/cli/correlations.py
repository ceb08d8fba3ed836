"""`market-assets correlations`: the correlation analysis, as a table, JSON or a heat map.

Belongs here: what is asked for, and where it is written. Does not belong here: measuring (`analysis/`), the layout of
the table (`correlation_table.py`).
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from market_assets.analysis.definitions import DEFAULT_WINDOWS
from market_assets.analysis.heatmap_page import heatmap_page
from market_assets.analysis.heatmap_picture import heatmap_picture
from market_assets.cli.app import Picture
from market_assets.cli.console import escape, program, tell
from market_assets.cli.correlation_table import print_survey
from market_assets.cli.failures import CommandFailedError, bad_option
from market_assets.cli.formats import chosen_format
from market_assets.cli.log import load_settings
from market_assets.cli.reader import open_to_read, what_to_do
from market_assets.clock import SystemClock
from market_assets.collection.surveyed import survey_stored
from market_assets.crypto_join import reference_of
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from datetime import date, datetime
    from pathlib import Path

    from market_assets.analysis.definitions import Definition
    from market_assets.analysis.survey import Survey
    from market_assets.store import Store
    from market_assets.universe import Ticker

_PICTURE_OF_SUFFIX = {".json": Picture.JSON, ".html": Picture.HTML, ".htm": Picture.HTML, ".png": Picture.PNG}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be measured; empty: the defaults."""

    symbols: tuple[str, ...]
    windows: tuple[int, ...]
    definition: Definition
    end: date | None
    as_of: datetime | None


def correlations(asked: Asked, format_: Picture | None, out: Path | None) -> None:
    """Measure, and print or write the result."""
    now = SystemClock().now()
    chosen = chosen_format(
        format_, out, of_suffix=_PICTURE_OF_SUFFIX, table=Picture.TABLE, binary=Picture.PNG, example="correlations.png"
    )
    cryptos = _cryptos(asked.symbols)
    _check_times(asked, now)
    settings = load_settings()
    store = open_to_read(settings, "correlations")
    try:
        found = _measure(store, asked, cryptos, now)
        source = store.source()
        if not found.measured:
            raise CommandFailedError(_nothing(found, what_to_do(settings, "correlations")))
    finally:
        store.close()
    threshold = settings.high_correlation_threshold
    if chosen is Picture.TABLE:
        print_survey(found, source, threshold)
        return
    if chosen is Picture.JSON:
        head: dict[str, Any] = {
            "source": source,
            "as_of": None if asked.as_of is None else asked.as_of.isoformat(),
            "high_correlation_threshold": threshold,
        }
        content = (json.dumps(head | found.to_json(), indent=2, allow_nan=False) + "\n").encode()
    elif chosen is Picture.HTML:
        content = heatmap_page(found, source=source).encode()
    else:
        content = heatmap_picture(found, source=source)
    _emit(content, out)


def _cryptos(symbols: tuple[str, ...]) -> tuple[Ticker, ...]:
    names: dict[str, None] = {}
    for symbol in symbols:
        name = reference_of(symbol)
        if name is None:
            known = ", ".join(crypto.name for crypto in UNIVERSE.crypto)
            raise bad_option("--symbol", f"there is no crypto reference {symbol!r}; choose from {known}")
        names[name] = None
    return tuple(UNIVERSE[name] for name in names) or UNIVERSE.crypto


def _check_times(asked: Asked, now: datetime) -> None:
    if asked.as_of is not None and asked.as_of > now:
        raise bad_option("--as-of", f"{asked.as_of:%Y-%m-%dT%H:%MZ} lies in the future; it is {now:%Y-%m-%dT%H:%MZ}")
    if asked.end is not None and asked.end > now.date():
        raise bad_option("--end", f"{asked.end} lies in the future; it is {now:%Y-%m-%d}")


def _measure(store: Store, asked: Asked, cryptos: tuple[Ticker, ...], now: datetime) -> Survey:
    known_at = asked.as_of or now
    windows = tuple(dict.fromkeys(asked.windows)) or DEFAULT_WINDOWS[asked.definition.sampling]
    with store.snapshot(asked.as_of) as snapshot:
        return survey_stored(
            snapshot,
            cryptos=cryptos,
            tickers=UNIVERSE.features,
            windows=windows,
            end=asked.end or known_at.date(),
            now=known_at,
            definition=asked.definition,
        )


def _nothing(found: Survey, advice: str) -> str:
    """Return why not a single correlation could be measured, and what to do."""
    if all(window.pairs == 0 for pair in found.pairs for window in pair.windows):
        return f"no bars to correlate up to {found.end}; {advice}"
    best = max((window for pair in found.pairs for window in pair.windows), key=lambda one: one.pairs / one.window)
    return (
        f"no window is complete up to {found.end}: {best.reason}; choose a shorter --window, or load earlier days: "
        f"{program()} collect --start DAY"
    )


def _emit(content: bytes, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(content.decode())
        return
    # Whole, or not at all.
    part = out.with_name(f"{out.name}.part")
    try:
        part.write_bytes(content)
        part.replace(out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CommandFailedError(f"cannot write {out}: {error.strerror or error}") from error
    tell(f"written to {escape(str(out))}")
