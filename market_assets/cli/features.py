"""`market-assets features`: the latest row for a person, or rows for a program.

Belongs here: which rows are asked for, and the formats for programs. Does not belong here: reading rows, and tables.
"""

from __future__ import annotations

import difflib
import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from market_assets.cli.app import Format
from market_assets.cli.console import escape, program, tell
from market_assets.cli.failures import CommandFailedError, bad_option
from market_assets.cli.feature_table import print_latest, print_range
from market_assets.cli.formats import chosen_format
from market_assets.cli.log import load_settings
from market_assets.cli.reader import open_to_read, what_to_do
from market_assets.cli.words import counted
from market_assets.client import FeatureStore
from market_assets.client.columns import Catalogue
from market_assets.clock import SystemClock
from market_assets.columns import feature_columns
from market_assets.reading import latest_row
from market_assets.receipts import FileFormat, write_with_receipt
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from market_assets.reading import FeatureRow
    from market_assets.settings import Settings
    from market_assets.store import Store

_FORMAT_OF_SUFFIX = {".csv": Format.CSV, ".json": Format.JSON, ".parquet": Format.PARQUET}


def features(
    *,
    start: datetime | None,
    end: datetime | None,
    only: list[str],
    as_of: datetime | None,
    format_: Format | None,
    out: Path | None,
) -> None:
    """Print or write the latest row, or the rows of a range."""
    now = SystemClock().now()
    chosen = chosen_format(
        format_, out, of_suffix=_FORMAT_OF_SUFFIX, table=Format.TABLE, binary=Format.PARQUET, example="features.parquet"
    )
    _check_range(start, end, as_of, now)
    columns = list(dict.fromkeys(_known(name) for name in only))
    settings = load_settings()
    store = open_to_read(settings, "features")
    client = FeatureStore(store=store, settings=settings)
    try:
        if start is not None:
            frame = client.history(start, end or now, features=columns or None, as_of=as_of, basis="at_T")
        else:
            row = _latest(store, settings, now, as_of)
            if chosen is Format.TABLE:
                print_latest(row, settings, columns, store.source(), now)
                return
            at = row.observed_at
            frame = client.history(at, now, features=columns or None, as_of=as_of, basis="at_T").head(1)
        if frame.empty:
            _tell_empty(store, settings, now, as_of)
        if chosen is not Format.TABLE:
            _write(frame, chosen, out, store)
        elif not frame.empty:
            print_range(frame, columns)
    finally:
        store.close()


def _check_range(start: datetime | None, end: datetime | None, as_of: datetime | None, now: datetime) -> None:
    if start is None and end is not None:
        raise bad_option("--end", "it needs --start; give both, or neither for the latest row")
    if start is not None and start > now:
        raise bad_option("--start", f"{_text(start)} lies in the future; it is {_text(now)}")
    if start is not None and end is not None and start >= end:
        raise bad_option("--start", f"{_text(start)} does not lie before --end {_text(end)}; swap them")
    if as_of is not None and as_of > now:
        raise bad_option("--as-of", f"{_text(as_of)} lies in the future; it is {_text(now)}")


def _known(name: str) -> str:
    known = feature_columns()
    wanted = name.strip().lower()
    for candidate in (wanted, f"ml_{wanted}"):
        if candidate in known:
            return candidate
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"{program()} features shows the names"
    raise bad_option("--only", f"there is no feature {name!r}; {hint}")


def _latest(store: Store, settings: Settings, now: datetime, as_of: datetime | None) -> FeatureRow:
    row = latest_row(store, now, UNIVERSE, as_of=as_of)
    if row is None:
        if as_of is not None:
            raise CommandFailedError(
                f"no feature row was known at {_text(as_of)}; leave --as-of out for the latest one"
            )
        raise CommandFailedError(
            f"the database {store.database.redacted_url} holds no feature row yet; {what_to_do(settings, 'features')}"
        )
    return row


def _tell_empty(store: Store, settings: Settings, now: datetime, as_of: datetime | None) -> None:
    latest = latest_row(store, now, UNIVERSE, as_of=as_of)
    if latest is None:
        advice = what_to_do(settings, "features")
    else:
        advice = f"the latest row is of {_text(latest.observed_at)}; load earlier days: {program()} collect --start DAY"
    tell(f"[yellow]No feature row lies in that range:[/] {escape(advice)}")


def _write(frame: pd.DataFrame, format_: Format, out: Path | None, store: Store) -> None:
    if out is None:
        sys.stdout.write(_text_of(frame, format_))
        return

    def write(part: Path) -> None:
        if format_ is Format.PARQUET:
            _write_parquet(frame, part)
        else:
            part.write_text(_text_of(frame, format_), encoding="utf-8")

    try:
        write_with_receipt(frame, out, FileFormat(format_.value), store, Catalogue.whole(), write=write)
    except OSError as error:
        raise CommandFailedError(f"cannot write {out}: {error.strerror or error}") from error
    tell(f"{counted(len(frame), 'row')} written to {escape(str(out))}, a receipt beside it")


def _text_of(frame: pd.DataFrame, format_: Format) -> str:
    # Both spell a float64 so that it comes back with its own bits.
    return frame.to_csv(index=False) if format_ is Format.CSV else _json(frame)


def _write_parquet(frame: pd.DataFrame, out: Path) -> None:
    try:
        frame.to_parquet(out, index=False)
    except ImportError:
        raise CommandFailedError("parquet needs the package pyarrow: pip install 'market-assets[parquet]'") from None


def _json(frame: pd.DataFrame) -> str:
    columns = [[_plain(value) for value in frame[name].tolist()] for name in frame.columns]
    records = [dict(zip(frame.columns, values, strict=True)) for values in zip(*columns, strict=True)]
    return json.dumps(records, indent=2) + "\n"


def _plain(value: Any) -> Any:  # noqa: ANN401 - a cell of a frame
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return None if value != value else value  # noqa: PLR0124 - JSON knows no NaN


def _text(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%MZ}"
