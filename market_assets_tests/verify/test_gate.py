"""The look-ahead gate on the real code: a few dozen random markets here, a thousand among the integration tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market_assets.calendars import US_PER_DAY, from_us
from market_assets.maths.arrays import NEVER_US
from market_assets.universe import UNIVERSE
from market_assets.verify.observe import Observer, differences, same_bits
from market_assets.verify.poison import Gate
from market_assets.verify.scramble import Scrambler, keeps_to_its_date
from market_assets_tests.verify import gates, store_gate
from market_assets_tests.verify.markets import CATEGORIES, make_case

if TYPE_CHECKING:
    from market_assets.verify.history import Versions

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=48, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=SEEDS, category=st.sampled_from(CATEGORIES))
def test_the_row_at_t_does_not_move_with_the_future_and_does_with_the_present(seed: int, category: str) -> None:
    assert gates.violations(seed, category) == []


@pytest.mark.parametrize("category", ["dst_week", "split"])
def test_the_row_at_t_of_the_whole_universe_does_not_move_with_the_future(category: str) -> None:
    assert gates.violations_of(make_case(11, category, UNIVERSE)) == []


@pytest.mark.parametrize(("seed", "category"), [(1, "revised"), (2, "dividend"), (3, "split")])
def test_what_a_database_learns_later_does_not_change_what_it_says_as_of_before(seed: int, category: str) -> None:
    assert store_gate.violations(seed, category) == []


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_case_contains_what_it_is_made_for(category: str) -> None:
    for seed in range(5):
        case = make_case(seed, category)
        assert category in case.categories or category == "plain", case


# --- the poison -------------------------------------------------------------------------------------------------------


def usable(versions: Versions, at_us: int, as_of_us: int) -> set[tuple[object, ...]]:
    """Return what the poison must leave alone, of bars without a feed lag."""
    kept = versions.take(versions.in_force(as_of_us) & (versions["bar_end"] <= at_us))
    values = [kept[name].tolist() for name in ("interval", "bar_start", "bar_end")]
    bits = [kept[name].view(np.int64).tolist() for name in ("close", "basis", "volume")]
    return set(zip(*values, *bits, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_the_poison_leaves_every_usable_bar_as_it_is_and_nothing_else(seed: int) -> None:
    case = make_case(seed, CATEGORIES[seed])
    history = next(one for one in case.history.tickers.values() if not one.ticker.feed_lag)
    poisoned = Scrambler(case.at_us, case.as_of_us, np.random.default_rng(seed)).ticker(history)
    assert usable(poisoned.bars, case.at_us, case.as_of_us) == usable(history.bars, case.at_us, case.as_of_us)
    left = poisoned.bars.take(poisoned.bars.in_force(case.as_of_us))
    future = left["bar_end"] > case.at_us
    known_before = set(history.bars["close"].tolist())
    assert not known_before & set(left["close"][future].tolist())
    keys = pd.MultiIndex.from_arrays([left["interval"], left["bar_start"]])
    assert keys.is_unique


def test_the_poison_deletes_scrambles_and_makes_up_bars_and_actions() -> None:
    case = make_case(3, "dividend")
    history = next(one for one in case.history.tickers.values() if one.ticker.is_core)
    running, before = 0, history.bars["bar_end"] > case.at_us
    counts = set()
    for seed in range(12):
        poisoned = Scrambler(case.at_us, case.as_of_us, np.random.default_rng(seed)).ticker(history)
        bars = poisoned.bars
        future = bars["bar_end"] > case.at_us
        counts.add(int(future.sum()))
        running += int((future & (bars["bar_start"] <= case.at_us)).any())
        today = np.datetime64(from_us(case.at_us).date(), "D")
        made_up = poisoned.actions["ex_date"] > today
        assert set(poisoned.actions["value"][made_up].tolist()).isdisjoint(history.actions["value"].tolist())
    assert min(counts) < int(before.sum()) < max(counts)
    assert running > 6


def test_the_poison_may_end_versions_that_are_in_force_but_never_before_as_of() -> None:
    case = make_case(4, "revised")
    for history in case.history.tickers.values():
        poisoned = Scrambler(case.at_us, case.as_of_us, np.random.default_rng(0)).ticker(history).bars
        ended = poisoned["known_to"][poisoned["known_to"] != NEVER_US]
        assert ((ended > case.as_of_us) | np.isin(ended, history.bars["known_to"])).all()
        assert (ended > case.as_of_us).any()


def test_actions_are_made_up_only_where_a_session_keeps_to_its_date() -> None:
    assert {venue: keeps_to_its_date(venue) for venue in ("XNYS", "CBOE_INDEX", "UTC_24_7", "FX", "ICE_USDX")} == {
        "XNYS": True,
        "CBOE_INDEX": True,
        "UTC_24_7": True,
        "FX": False,
        "ICE_USDX": False,
    }


def test_the_gate_sees_the_poison_a_day_later() -> None:
    """It would prove nothing if the nonsense moved no row at all."""
    case = make_case(5, "plain")
    gate = Gate(Observer(case.universe, case.indicators))
    poisoned = Scrambler(case.at_us, case.as_of_us, np.random.default_rng(0)).history(case.history)
    later = case.at_us + US_PER_DAY
    clean, dirty = (gate.observer.row(history.as_of(case.as_of_us), later) for history in (case.history, poisoned))
    assert differences(clean, dirty, "observed_at")


# --- bits -------------------------------------------------------------------------------------------------------------


def test_bits_tell_the_smallest_difference_and_null_equals_null() -> None:
    one = np.array([0.1 + 0.2, 1.0, np.nan, np.nan])
    two = np.array([0.3, 1.0, np.nan, 1.0])
    assert same_bits(one, two).tolist() == [False, True, True, False]
    texts = np.array(["a", None, "b"], dtype=object)
    assert same_bits(texts, np.array(["a", None, None], dtype=object)).tolist() == [True, True, False]


def test_a_difference_names_row_column_and_both_values() -> None:
    one = pd.DataFrame({"t": [1, 2], "x": [1.0, 2.0], "y": ["a", "b"]})
    two = pd.DataFrame({"t": [1, 2], "x": [1.0, 2.5], "y": ["a", "c"]})
    assert [str(one) for one in differences(one, two, "t")] == ["2 x: 2.0 against 2.5", "2 y: 'b' against 'c'"]
    assert differences(one, two.head(1), "t")[0].column == "rows"
