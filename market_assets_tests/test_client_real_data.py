"""Training sets on real bars against a second implementation that walks the log row by row.

The second one, `independent/slow_client.py`, reads the database's own tables with sqlite3 and plain Python; it shares
no import with the package. Two logs: a week around Christmas 2019 in quarters of an hour, and the split of USO in April
2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from market_assets_tests.feature_log import FeatureLog, universe_of
from market_assets_tests.independent import reference
from market_assets_tests.independent.engine import daily_bars, etf_log, intraday_bars
from market_assets_tests.independent.slow_client import CORRELATIONS, DELAY_US, SlowClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from market_assets.client.request import Vintage

ETFS = ("QQQ", "ARKK", "HYG", "TLT", "GLD")
MINUTES, CRYPTO = "A_etf_1m_yahoo_2019-12_2020-01", "A_btc_5m_binance_2019-11_2020-03"
#: the first collection, before a half day
BEGAN = datetime(2019, 12, 24, 14, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Log:
    """A log and the file that it stands in."""

    log: FeatureLog
    path: Path


def real_bars(shared: Path) -> pd.DataFrame:
    """Return quarter hours and days of five ETFs, of Bitcoin, and days of Ether around Christmas 2019."""
    closes = reference.etf_closes(shared)
    parts = []
    for name in ETFS:
        sessions = reference.days_of(closes.loc["2019-12-16":"2019-12-30"])
        minutes = reference.regular_hours(reference.intraday(shared, MINUTES, name), sessions).drop(columns="day")
        parts.append(intraday_bars(name, "15m", reference.resample(minutes, "15min")))
        parts.append(daily_bars(name, closes.loc["2019-10-15":"2019-12-30", name]))
    five = reference.intraday(shared, CRYPTO, "BTCUSDT").loc["2019-11-15":"2019-12-28"]
    parts.append(intraday_bars("BTC", "15m", reference.resample(five, "15min")))
    parts.append(daily_bars("ETH", reference.crypto_closes(shared).loc["2019-11-10":"2019-12-28", "ETH-USD"]))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def christmas(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """A log that begins on Christmas Eve: backfilled before, with late bars, first prints that change, an outage."""
    path = tmp_path_factory.mktemp("christmas") / "market.db"
    actions = pd.concat([etf_log(shared_dir, name).actions for name in ETFS], ignore_index=True)
    log = FeatureLog.open(path, universe_of(*ETFS, "BTC", "ETH"), real_bars(shared_dir), actions)
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
    yield Log(log, path)
    log.store.close()


@pytest.fixture(scope="module")
def split(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """USO and GLD, collected after each session from 20 April to 8 May 2020, the days before backfilled.

    Until the ex-date of USO's split the source serves prices as they were traded, from then on all of them rebased.
    """
    path = tmp_path_factory.mktemp("split") / "market.db"
    closes = reference.etf_closes(shared_dir).loc["2020-03-02":"2020-05-08"]
    known = etf_log(shared_dir, "USO").actions
    log = FeatureLog.open(path, universe_of("USO", "GLD"), pd.DataFrame(), known)
    old = reference.days_of(closes) < reference.USO_EX_DATE
    native = closes["USO"].where(~old, closes["USO"] * reference.USO_RATIO)
    rebased = pd.Series(np.where(old, reference.USO_RATIO, 1.0), index=closes.index)
    before = pd.concat([daily_bars("USO", native), daily_bars("GLD", closes["GLD"])], ignore_index=True)
    after = pd.concat(
        [daily_bars("USO", closes["USO"], basis=rebased), daily_bars("GLD", closes["GLD"])], ignore_index=True
    )
    first, days = date(2020, 3, 2), pd.bdate_range("2020-04-20", "2020-05-08")
    for day in days:
        log.bars = before if day < reference.USO_EX_DATE else after
        tick = (day.tz_localize(reference.NEW_YORK) + pd.Timedelta("17h1min")).tz_convert("UTC").to_pydatetime()
        build_from = date(2020, 4, 15) if day == days[0] else (day - pd.Timedelta("3D")).date()
        log.collect_bars(tick, first, tick.date())
        log.build(tick, build_from, tick.date())
    yield Log(log, path)
    log.store.close()


def asked(log: FeatureLog, start: str, end: str, count: int, seed: int = 7) -> pd.DataFrame:
    """Return entities anywhere, and a microsecond before and at each moment at which something became known."""
    rng = np.random.default_rng(seed)
    first, last = pd.Timestamp(start), pd.Timestamp(end)
    anywhere = first + pd.to_timedelta(rng.integers(0, int((last - first).total_seconds()), count), unit="s")
    rows = log.client.history(vintage="served")
    backfilled = rows["origin"] == "backfill"
    edges = pd.DatetimeIndex(rows["known_from"][~backfilled].unique())
    on_time = pd.DatetimeIndex(rows["observed_at"][backfilled].iloc[::9]) + pd.Timedelta(DELAY_US, "us")
    times = anywhere.append([edges, edges - pd.Timedelta("1us"), on_time, on_time - pd.Timedelta("1us")])
    symbols = np.resize(np.array(["BTC", "SOL", "BTC", "ETH"]), len(times))
    return pd.DataFrame({"timestamp": pd.DatetimeIndex(times).as_unit("us"), "symbol": symbols}).sample(
        frac=1.0, random_state=1
    )


@pytest.mark.parametrize("vintage", ["served", "revised"])
@pytest.mark.parametrize("as_of", [None, "2019-12-24T17:20Z", "2019-12-26T14:31:20Z"])
def test_training_sets_on_real_bars_equal_those_of_a_walk_over_the_log(
    christmas: Log, vintage: Vintage, as_of: str | None
) -> None:
    log = christmas.log
    entities = asked(log, "2019-12-18T00:00Z", "2019-12-27T06:00Z", 100)
    names = [*log.catalogue.features, *CORRELATIONS]
    frame = log.client.training_set(entities, features=names, vintage=vintage, as_of=as_of)
    slow = SlowClient(christmas.path, None if as_of is None else pd.Timestamp(as_of))
    np.testing.assert_array_equal(frame[names].to_numpy(), slow.training_set(entities, names, vintage))
    assert frame["ml_arkk_price"].notna().mean() > 0.9
    assert frame["ml_arkk_correlation"].notna().mean() > 0.4
    told = frame[frame["symbol"] == "ETH"]["ml_gold_correlation"]
    assert told.notna().mean() > 0.4


def test_a_limit_of_age_on_real_bars_leaves_out_what_the_walk_leaves_out(christmas: Log) -> None:
    log, limit = christmas.log, timedelta(hours=2)
    entities = asked(log, "2019-12-24T00:00Z", "2019-12-27T06:00Z", 50)
    names = ["ml_hyg_price", "ml_tlt_volatility"]
    frame = log.client.training_set(entities, features=names, max_age=limit)
    expected = SlowClient(christmas.path).training_set(entities, names, "served", limit.total_seconds() * 1e6)
    np.testing.assert_array_equal(frame[names].to_numpy(), expected)
    assert frame["ml_hyg_price"].isna().any()


@pytest.mark.parametrize("vintage", ["served", "revised"])
def test_prices_and_their_ages_are_those_of_the_last_bar_known_to_the_row(christmas: Log, vintage: Vintage) -> None:
    """Down to the bars: the walk finds the row, what the row could see, and the last bar in it."""
    log, slow = christmas.log, SlowClient(christmas.path)
    entities = asked(log, "2019-12-18T15:00Z", "2019-12-27T06:00Z", 60, seed=8)
    names = [f"ml_{name.lower()}_price" for name in ETFS]
    frame = log.client.training_set(entities, features=names, vintage=vintage, ages=True)
    compared = 0
    for line, timestamp in enumerate(entities["timestamp"]):
        at_us = timestamp.value // 1000
        row = slow.row_at(at_us, vintage)
        for ticker, name in zip(ETFS, names, strict=True):
            value = frame[name].iloc[line]
            if row is None or np.isnan(value):  # stale, by rules of its own
                continue
            found = slow.price_at(ticker, row["observed_at"], row["read_as_of"])
            assert found is not None
            assert value == found[0]
            assert frame[f"{name}_age_minutes"].iloc[line] == pytest.approx((at_us - found[1]) / 60e6, abs=1e-9)
            compared += 1
    assert compared > 0.7 * len(entities) * len(ETFS)


@pytest.mark.parametrize("vintage", ["served", "revised"])
def test_training_sets_over_a_real_split_stand_on_the_basis_asked_for(split: Log, vintage: Vintage) -> None:
    log, slow = split.log, SlowClient(split.path)
    entities = asked(log, "2020-04-15T00:00Z", "2020-05-09T00:00Z", 80)
    names = list(log.catalogue.features)
    at_t, as_of = (
        log.client.training_set(entities, features=names, vintage=vintage, basis=basis) for basis in ("at_T", "as_of")
    )
    np.testing.assert_array_equal(at_t[names].to_numpy(), slow.training_set(entities, names, vintage))
    unscaled = [name for name in names if name != "ml_uso_price"]
    pd.testing.assert_frame_equal(as_of[unscaled], at_t[unscaled], check_exact=True)
    ex_us = reference.us(reference.USO_EX_DATE.tz_localize(reference.NEW_YORK))
    sides = []
    for line, timestamp in enumerate(entities["timestamp"]):
        row = slow.row_at(timestamp.value // 1000, vintage)
        if row is None or row["ml_uso_price"] is None:
            continue
        before = row["observed_at"] < ex_us
        sides.append(before)
        assert as_of["ml_uso_price"].iloc[line] == row["ml_uso_price"] / (reference.USO_RATIO if before else 1.0)
        found = slow.price_at("USO", row["observed_at"], row["read_as_of"])
        assert found is not None
        np.testing.assert_allclose(row["ml_uso_price"], found[0], rtol=1e-15)
    assert min(sides.count(True), sides.count(False)) > 20
    steps = np.abs(np.diff(np.log(as_of.assign(at=entities["timestamp"]).sort_values("at")["ml_uso_price"].dropna())))
    assert steps.max() < 0.5, "no jump of eight to one"


def test_the_real_log_holds_what_the_comparison_is_about(christmas: Log) -> None:
    served, revised = (christmas.log.client.history(vintage=one, basis="at_T") for one in ("served", "revised"))
    assert set(served["origin"]) == {"backfill", "live", "catch_up"}
    prices = [f"ml_{name.lower()}_price" for name in ETFS]
    changed = (served[prices].to_numpy() != revised[prices].to_numpy()) & served[prices].notna().to_numpy()
    assert changed.sum() >= 5
