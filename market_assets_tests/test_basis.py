"""On which splits fetched prices stand, and that a mere rebase is not a new version."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from market_assets.basis import action_basis, all_splits, detect_applied, detect_basis, keep_rebased
from market_assets.errors import AmbiguousBasisError
from market_assets.metrics import TickerSeries
from market_assets.universe import UNIVERSE, Category, Ticker
from market_assets_tests.market_frames import action_frame, bar_frame, log, walk

if TYPE_CHECKING:
    from pathlib import Path

USO = UNIVERSE["USO"]
RATIO = 0.125
SPLIT = action_frame("USO", [("split", "2020-04-29", RATIO)])
EX = pd.Timestamp("2020-04-29", tz="America/New_York")
NO_STORED = bar_frame("USO", "1d", [], [], [])


def native(start: str = "2020-04-01", end: str = "2020-05-20", interval: str = "1d") -> pd.DataFrame:
    """Return USO as it traded: about 2 dollars before the split, 16 after."""
    bars = walk("USO", interval, start, end, level=2.0, scale=0.01)
    return scaled(bars, np.where(bars["bar_start"] >= EX, 1.0 / RATIO, 1.0)).assign(basis=1.0)


def scaled(bars: pd.DataFrame, factor: np.ndarray[tuple[int], np.dtype[np.float64]]) -> pd.DataFrame:
    prices = {column: bars[column] * factor for column in ("open", "high", "low", "close")}
    return bars.assign(**prices, volume=bars["volume"] / factor)


def rebased(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the same native bars as the source serves them once it has applied the split, with their true basis."""
    basis = np.where(bars["bar_start"] < EX, RATIO, 1.0)
    return scaled(bars, 1.0 / basis).assign(basis=basis)


def answer(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the bars as an answer has them: without basis, rounded to float32."""
    bare = bars.drop(columns="basis")
    for column in ("open", "high", "low", "close"):
        bare[column] = bare[column].astype(np.float32).astype(np.float64)
    return bare


# --- detection --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", ["1d", "15m", "1h"])
def test_without_stored_bars_the_jump_across_the_ex_date_tells(interval: str) -> None:
    bars = native("2020-04-20", "2020-05-08", interval)
    not_yet = detect_applied(answer(bars), NO_STORED, SPLIT, USO)
    assert (not_yet.count, not_yet.evidence) == (0, "jump")
    done = detect_applied(answer(rebased(bars)), NO_STORED, SPLIT, USO)
    assert (done.count, done.evidence) == (1, "jump")


def test_the_overlap_with_stored_bars_tells_whichever_basis_those_have() -> None:
    before = native(end="2020-04-28")
    for stored in (before, rebased(before)):
        for fetched in (before, rebased(before)):
            found = detect_basis(answer(fetched), stored, SPLIT, USO)
            assert found["basis"].tolist() == fetched["basis"].tolist()
            np.testing.assert_allclose(found["close"] * found["basis"], before["close"], rtol=1e-7)


def test_bars_after_the_split_stand_on_no_basis() -> None:
    after = native(start="2020-04-29")
    assert detect_basis(answer(after), NO_STORED, SPLIT, USO)["basis"].unique().tolist() == [1.0]
    no_splits = action_frame("USO", [("dividend", "2020-04-29", 0.1)])
    assert detect_applied(answer(native()), NO_STORED, no_splits, USO).evidence == "no_splits"
    assert detect_basis(answer(native().iloc[:0]), NO_STORED, SPLIT, USO)["basis"].tolist() == []


def test_a_revised_bar_or_two_do_not_mislead() -> None:
    before = native(end="2020-04-28")
    revised = before.assign(close=before["close"] * np.where(np.arange(len(before)) % 5 == 0, 1.1, 1.0))
    assert detect_applied(answer(rebased(revised)), before, SPLIT, USO).count == 1


def test_two_splits_are_told_apart_by_stretch() -> None:
    splits = action_frame("USO", [("split", "2020-04-29", RATIO), ("split", "2020-05-11", 2.0)])
    bars = native()
    second = pd.Timestamp("2020-05-11", tz="America/New_York")
    twice = scaled(bars, np.where(bars["bar_start"] >= second, 0.5, 1.0))
    for count in (0, 1, 2):
        first_basis = np.where(bars["bar_start"] < EX, RATIO, 1.0) if count >= 1 else np.ones(len(bars))
        second_basis = np.where(bars["bar_start"] < second, 2.0, 1.0) if count == 2 else np.ones(len(bars))
        fetched = answer(scaled(twice, 1.0 / (first_basis * second_basis)))
        assert detect_applied(fetched, NO_STORED, splits, USO).count == count
        assert detect_applied(fetched, twice, splits, USO).evidence == "overlap"
        assert detect_basis(fetched, twice, splits, USO)["basis"].tolist() == (first_basis * second_basis).tolist()


def test_what_cannot_be_told_is_an_error_with_a_remedy() -> None:
    before = answer(native(end="2020-04-28"))
    with pytest.raises(AmbiguousBasisError, match=r"USO with ex-date 2020-04-29.*fetch a window that spans"):
        detect_applied(before, NO_STORED, SPLIT, USO)
    with pytest.raises(AmbiguousBasisError):
        detect_applied(before, NO_STORED, SPLIT, USO, fetched_at=datetime(2020, 5, 1, tzinfo=UTC))


def test_the_other_interval_of_the_collection_or_the_age_of_the_split_tell_as_a_last_resort() -> None:
    before = answer(native(end="2020-04-28"))
    for bars, count in ((native(), 0), (rebased(native()), 1)):
        sibling = detect_applied(answer(bars), NO_STORED, SPLIT, USO)
        found = detect_applied(before, NO_STORED, SPLIT, USO, sibling=sibling)
        assert (found.count, found.evidence) == (count, "sibling")
    nothing = detect_applied(answer(native(start="2020-04-29")), NO_STORED, SPLIT, USO)
    with pytest.raises(AmbiguousBasisError):
        detect_applied(before, NO_STORED, SPLIT, USO, sibling=nothing)
    for instant, count in ((datetime(2021, 1, 1, tzinfo=UTC), 1), (datetime(2020, 4, 20, tzinfo=UTC), 0)):
        found = detect_applied(before, NO_STORED, SPLIT, USO, fetched_at=instant)
        assert (found.count, found.evidence) == (count, "age")


def test_a_small_split_hidden_in_a_wild_market_is_not_guessed() -> None:
    splits = action_frame("USO", [("split", "2020-04-29", 1.05)])
    bars = walk("USO", "1d", "2020-04-01", "2020-05-20", scale=1e-4)
    quiet = answer(bars)
    assert detect_applied(quiet, NO_STORED, splits, USO).evidence == "jump"
    halfway = answer(scaled(bars, np.where(bars["bar_start"] >= EX, 1.05**-0.5, 1.0)))
    with pytest.raises(AmbiguousBasisError):
        detect_applied(halfway, NO_STORED, splits, USO)


def test_prices_that_no_split_explains_are_an_error() -> None:
    stored = native(end="2020-04-28")
    with pytest.raises(AmbiguousBasisError, match=r"differ by the factor 0\.3333.*a split is missing"):
        detect_applied(answer(scaled(stored, np.full(len(stored), 3.0))), stored, SPLIT, USO)


def test_a_split_without_a_ratio_is_an_error() -> None:
    with pytest.raises(AmbiguousBasisError, match="no positive ratio"):
        detect_applied(answer(native()), NO_STORED, action_frame("USO", [("split", "2020-04-29", 0.0)]), USO)


def test_a_later_split_alone_applied_is_an_error() -> None:
    splits = action_frame("USO", [("split", "2020-04-29", RATIO), ("split", "2020-05-11", 4.0)])
    # As if the second had been applied (no jump) and the first not (a jump).
    with pytest.raises(AmbiguousBasisError, match="jump as if a later split had been applied"):
        detect_applied(answer(native()), NO_STORED, splits, USO)


def test_the_splits_of_the_store_complete_those_of_the_answer() -> None:
    stored = action_frame(
        "USO", [("split", "2020-04-29", RATIO), ("split", "2021-01-04", 2.0), ("dividend", "2021-01-05", 1.0)]
    )
    answered = action_frame("USO", [("split", "2021-01-04", 3.0)])[["kind", "ex_date", "value"]]
    union = all_splits(answered, stored)
    assert union["ex_date"].tolist() == [date(2020, 4, 29), date(2021, 1, 4)]
    assert union["value"].tolist() == [RATIO, 3.0]
    assert all_splits(answered.iloc[:0], stored.iloc[:0]).empty


# --- a rebase is no new version ---------------------------------------------------------------------------------------


def test_a_pure_rebase_keeps_the_stored_representation_to_the_bit() -> None:
    stored = native()
    fetched = detect_basis(answer(rebased(stored)), stored, SPLIT, USO)
    kept = keep_rebased(fetched, stored)
    before = (stored["bar_start"] < EX).to_numpy()
    values = ["open", "high", "low", "close", "volume", "basis"]
    pd.testing.assert_frame_equal(kept.loc[before, values], stored.loc[before, values], check_exact=True)
    assert kept.loc[~before, "close"].tolist() == fetched.loc[~before, "close"].tolist()


def test_a_revised_bar_is_new_in_the_basis_it_was_fetched_in() -> None:
    stored = native(end="2020-04-28")
    fetched = detect_basis(answer(rebased(stored)), stored, SPLIT, USO)
    fetched["close"] *= np.where(fetched.index == 3, 1.0001, 1.0)
    fetched["volume"] *= np.where(fetched.index == 4, 1.01, 1.0)
    kept = keep_rebased(fetched, stored)
    assert kept["basis"].tolist()[2:6] == [1.0, RATIO, RATIO, 1.0]
    assert kept["close"][3] == fetched["close"][3]


def test_new_bars_and_bars_on_the_same_basis_are_taken_as_fetched() -> None:
    stored = native(end="2020-04-20")
    fetched = native(end="2020-04-28").assign(close=lambda frame: frame["close"] * (1.0 + 1e-7))
    assert keep_rebased(fetched, stored)["close"].tolist() == fetched["close"].tolist()
    assert keep_rebased(fetched, stored.iloc[:0]).equals(fetched)
    null = fetched.assign(open=np.nan, high=np.nan, low=np.nan, close=np.nan, volume=np.nan)
    assert keep_rebased(null, stored)["basis"].tolist() == fetched["basis"].tolist()


def test_dividends_stand_on_the_same_splits_as_the_prices() -> None:
    applied = detect_applied(answer(rebased(native())), NO_STORED, SPLIT, USO)
    answered = action_frame(
        "USO", [("dividend", "2020-04-10", 0.8), ("dividend", "2020-05-01", 0.2), ("split", "2020-04-29", RATIO)]
    )
    found = action_basis(answered.drop(columns="basis"), action_frame("USO"), applied)
    assert found["basis"].tolist() == [RATIO, 1.0, 1.0]
    assert found["value"].tolist() == [0.8, 0.2, RATIO]


def test_a_rebased_dividend_keeps_its_stored_representation_and_a_changed_one_does_not() -> None:
    applied = detect_applied(answer(rebased(native())), NO_STORED, SPLIT, USO)
    stored = action_frame("USO", [("dividend", "2020-04-10", 0.1), ("dividend", "2020-04-13", 0.1)])
    answered = action_frame("USO", [("dividend", "2020-04-10", 0.8), ("dividend", "2020-04-13", 0.9)]).drop(
        columns="basis"
    )
    found = action_basis(answered, stored, applied)
    assert found["value"].tolist() == [0.1, 0.9]
    assert found["basis"].tolist() == [1.0, RATIO]


# --- real data --------------------------------------------------------------------------------------------------------


def test_uso_of_april_2020_gives_one_history_from_both_sides_of_the_split(shared_dir: Path) -> None:
    """Stored before the split, re-read after it: no new version, and the returns of the rebased history."""
    rows = pd.read_csv(shared_dir / "market/daily/etf_ohlcv_yahoo_unadjusted_kittycapital.csv.gz", parse_dates=["date"])
    rows = rows[(rows["symbol"] == "USO") & rows["date"].between("2020-02-03", "2020-06-30")]
    today = walk("USO", "1d", "2020-02-03", "2020-07-01").assign(
        **{column: rows[column].to_numpy() for column in ("open", "high", "low", "close", "volume")}
    )
    seen_before = today["bar_start"] < EX
    as_traded = scaled(today[seen_before], np.full(int(seen_before.sum()), RATIO)).assign(basis=1.0)
    found = detect_basis(answer(today), as_traded, SPLIT, USO)
    assert found["basis"].tolist() == np.where(seen_before, RATIO, 1.0).tolist()
    assert detect_basis(answer(today), NO_STORED, SPLIT, USO)["basis"].equals(found["basis"])
    kept = keep_rebased(found, as_traded)
    assert kept.loc[seen_before, "close"].tolist() == as_traded["close"].tolist()
    returns = [TickerSeries.prepare(log("USO", bars, actions=SPLIT)).closes.log_return for bars in (found, kept)]
    np.testing.assert_allclose(returns[0], returns[1], atol=1e-14, equal_nan=True)
    assert np.nanmin(returns[0]) > -0.4


def test_a_recorded_answer_with_a_split_inside_has_it_applied(shared_dir: Path) -> None:
    result = json.loads((shared_dir / "yahoo" / "aapl_1d_1y_split_div.json").read_text())["chart"]["result"][0]
    quote, events = result["indicators"]["quote"][0], result["events"]["splits"]
    starts = [int(second) * 1_000_000 for second in result["timestamp"]]
    bars = bar_frame("AAPL", "1d", starts, starts, quote["close"]).assign(open=quote["open"]).drop(columns="basis")
    splits = action_frame(
        "AAPL",
        [
            ("split", str(datetime.fromtimestamp(event["date"], UTC).date()), event["numerator"] / event["denominator"])
            for event in events.values()
        ],
    )
    apple = Ticker("AAPL", "AAPL", Category.EQUITY_INDICES, "XNYS", "USD", "")
    found = detect_applied(bars, bars.iloc[:0].assign(basis=1.0), splits, apple)
    assert len(splits) == found.count == 1
    assert found.evidence == "jump"
