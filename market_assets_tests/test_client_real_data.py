"""Training sets on real bars against a second implementation that walks the log row by row.

The second one reads the database's own tables with sqlite3 and plain Python; it shares no import with the package.
"""

from __future__ import annotations

import math
import sqlite3
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from market_assets_tests.feature_log import FeatureLog, universe_of
from market_assets_tests.independent import reference
from market_assets_tests.independent.engine import daily_bars, etf_log, intraday_bars

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from market_assets.client.request import Vintage

ETFS = ("ARKK", "HYG", "TLT")
MINUTES, CRYPTO = "A_etf_1m_yahoo_2019-12_2020-01", "A_btc_5m_binance_2019-11_2020-03"
#: the first collection, before a half day
BEGAN = datetime(2019, 12, 24, 14, 1, tzinfo=UTC)
DELAY_US = 120_000_000


def real_bars(shared: Path) -> pd.DataFrame:
    """Return quarter hours and days of three ETFs and of Bitcoin around Christmas 2019."""
    closes = reference.etf_closes(shared)
    parts = []
    for name in ETFS:
        sessions = reference.days_of(closes.loc["2019-12-16":"2019-12-30"])
        minutes = reference.regular_hours(reference.intraday(shared, MINUTES, name), sessions).drop(columns="day")
        parts.append(intraday_bars(name, "15m", reference.resample(minutes, "15min")))
        parts.append(daily_bars(name, closes.loc["2019-10-15":"2019-12-30", name]))
    five = reference.intraday(shared, CRYPTO, "BTCUSDT").loc["2019-11-15":"2019-12-28"]
    parts.append(intraday_bars("BTC", "15m", reference.resample(five, "15min")))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def real_log(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FeatureLog, Path]]:
    """A log that begins on Christmas Eve: backfilled before, with late bars, first prints that change, an outage."""
    path = tmp_path_factory.mktemp("real") / "market.db"
    actions = pd.concat([etf_log(shared_dir, name).actions for name in ETFS], ignore_index=True)
    log = FeatureLog.open(path, universe_of(*ETFS, "BTC"), real_bars(shared_dir), actions)
    final = log.bars.copy()
    log.collect_bars(BEGAN, date(2019, 10, 15), BEGAN.date())
    log.build(BEGAN, date(2019, 12, 18), BEGAN.date())
    rng = np.random.default_rng(20191224)
    ticks = [BEGAN + timedelta(minutes=30) * number for number in range(1, 10)]
    ticks += [datetime(2019, 12, 26, 14, 31, tzinfo=UTC) + timedelta(minutes=30) * number for number in range(4)]
    for tick in ticks:
        fresh = (final["bar_end"] > pd.Timestamp(tick) - pd.Timedelta("45min")).to_numpy()
        late = fresh & (rng.random(len(final)) < 0.1)
        log.bars = final.copy()
        # The last trade of a quarter hour is often missing when its bar is first published.
        log.bars.loc[fresh & (rng.random(len(final)) < 0.3), "close"] *= 1.0001
        log.bars = log.bars[~late].reset_index(drop=True)
        first = date(2019, 12, 24) if tick == ticks[9] else tick.date()  # the first tick after an outage
        log.tick(tick, first, tick.date())
    yield log, path
    log.store.close()


class SlowClient:
    """Walks the log row by row, entity by entity."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path)
        self.connection.row_factory = sqlite3.Row

    def versions(self, table: str, key: tuple[str, ...]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
        """Return all versions of each row, oldest first."""
        found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for name in (table, f"{table}_history"):
            for row in self.connection.execute(f"SELECT * FROM {name}"):  # noqa: S608 - two names of this file
                found.setdefault(tuple(row[part] for part in key), []).append(dict(row))
        for rows in found.values():
            rows.sort(key=lambda row: row["known_from"])
        return found

    def training_set(self, entities: pd.DataFrame, names: list[str], vintage: str) -> list[list[float]]:
        features = self.versions("ml_features", ("observed_at",))
        correlations = self.versions("crypto_correlations", ("crypto", "ticker", "sessions", "session"))
        rows = [versions[0] if vintage == "served" else versions[-1] for versions in features.values()]
        last_backfilled = max(
            versions[0]["observed_at"] for versions in features.values() if versions[0]["origin"] == "backfill"
        )
        lines = []
        for timestamp, symbol in zip(entities["timestamp"], entities["symbol"], strict=True):
            at = timestamp.value // 1000
            best = None
            for row in rows:
                known = row["observed_at"] + DELAY_US
                if vintage == "served" and row["origin"] != "backfill":
                    known = row["known_from"]
                if known <= at and (best is None or row["observed_at"] > best["observed_at"]):
                    best = row
            correlation, latest = None, 0
            for (crypto, ticker, sessions, session), versions in correlations.items():
                if (crypto, ticker, sessions) != (symbol, "ARKK", 20):
                    continue
                row = versions[0] if vintage == "served" else versions[-1]
                closed = reference.us(reference.nyse_hours(pd.Timestamp(session))[1])
                known = closed + DELAY_US
                if vintage == "served" and closed > last_backfilled:
                    known = row["known_from"]
                if known <= at and closed > latest:
                    correlation, latest = row["correlation"], closed
            found = [correlation if name == "ml_arkk_correlation" else best[name] if best else None for name in names]
            lines.append([math.nan if value is None else value for value in found])
        return lines


@pytest.mark.parametrize("vintage", ["served", "revised"])
def test_training_sets_on_real_bars_equal_those_of_a_walk_over_the_log(
    real_log: tuple[FeatureLog, Path], vintage: Vintage
) -> None:
    log, path = real_log
    rng = np.random.default_rng(7)
    start, end = pd.Timestamp("2019-12-18T00:00Z"), pd.Timestamp("2019-12-27T06:00Z")
    seconds = rng.integers(0, int((end - start).total_seconds()), 150)
    stored = log.client.history(vintage="served")["known_from"]
    edges = pd.DatetimeIndex(stored[stored > BEGAN].unique())
    anywhere = pd.DatetimeIndex(start + pd.to_timedelta(seconds, unit="s"))
    times = pd.DatetimeIndex(anywhere.append([edges, edges - pd.Timedelta("1us")]))
    entities = pd.DataFrame(
        {"timestamp": times.as_unit("us"), "symbol": np.where(np.arange(len(times)) % 4 == 0, "SOL", "BTC")}
    )
    entities = entities.sample(frac=1.0, random_state=1)
    names = [*log.catalogue.features, "ml_arkk_correlation"]
    frame = log.client.training_set(entities, features=names, vintage=vintage)
    np.testing.assert_array_equal(frame[names].to_numpy(), SlowClient(path).training_set(entities, names, vintage))
    assert frame["ml_arkk_price"].notna().mean() > 0.9
    assert frame["ml_arkk_correlation"].notna().mean() > 0.6


def test_the_real_log_holds_what_the_comparison_is_about(real_log: tuple[FeatureLog, Path]) -> None:
    log, _ = real_log
    served, revised = (log.client.history(vintage=vintage, basis="at_T") for vintage in ("served", "revised"))
    assert set(served["origin"]) == {"backfill", "live", "catch_up"}
    prices = [f"ml_{name.lower()}_price" for name in ETFS]
    changed = (served[prices].to_numpy() != revised[prices].to_numpy()) & served[prices].notna().to_numpy()
    assert changed.sum() >= 5
