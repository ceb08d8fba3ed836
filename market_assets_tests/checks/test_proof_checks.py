"""The pure judgements of the look-ahead gate and of the replay."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime

import dagster as dg

from market_assets.checks.lookahead import evaluate_lookahead
from market_assets.checks.replayed import evaluate_replay
from market_assets.collection.days import DayRange
from market_assets.verify.evidence import BarKey, UsedBar
from market_assets.verify.lookahead import LookaheadReport, Moved
from market_assets.verify.observe import Difference
from market_assets.verify.replay import Divergence, ReplayReport

AT = datetime(2026, 3, 5, 15, 30, tzinfo=UTC)
DAYS = DayRange(date(2026, 3, 5), date(2026, 3, 5))
DIFFERENCE = Difference(AT.isoformat(), "ml_tlt_price", 90.5, 90.25)


def plain(result: dg.AssetCheckResult) -> dict[str, object]:
    return {name: value.value for name, value in result.metadata.items()}


def test_rows_that_do_not_move_pass() -> None:
    result = evaluate_lookahead(LookaheadReport(seed=1, judged=3))
    assert result.passed
    assert plain(result) == {"observed": 0, "threshold": 0, "rows_judged": 3, "worst_offenders": "none"}


def test_a_row_that_moves_with_its_future_is_an_error_that_names_it() -> None:
    moved = Moved(AT, "lookahead", (DIFFERENCE,))
    result = evaluate_lookahead(LookaheadReport(seed=1, judged=3, moved=[moved]))
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.ERROR
    assert plain(result)["observed"] == 1
    assert plain(result)["worst_offenders"] == "2026-03-05T15:30Z lookahead ml_tlt_price: 90.5 against 90.25"
    assert "1 of 3 rows" in str(result.description)


def test_nothing_to_judge_is_a_warning_and_stops_nothing() -> None:
    result = evaluate_lookahead(LookaheadReport(seed=1, not_judged=Counter({"0123456789ab": 2})))
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert plain(result)["rows_not_judged"] == "2 of 0123456789ab"


def test_identical_rows_pass() -> None:
    report = ReplayReport(2, 2, Counter(live=2), Counter(live=2))
    result = evaluate_replay(report, DAYS)
    assert result.passed
    assert plain(result) == {
        "observed": 1.0,
        "threshold": 1.0,
        "days": "2026-03-05 to 2026-03-05",
        "rows_compared": 2,
        "rows_identical": 2,
        "worst_offenders": "none",
        "origin/live": "2 of 2 identical",
    }


def test_a_divergence_is_an_error_that_names_row_column_and_bars() -> None:
    bar = UsedBar(BarKey("TLT", "15m", datetime(2026, 3, 5, 15, 15, tzinfo=UTC)), AT, 90.25, 1.0, "price")
    report = ReplayReport(4, 3, Counter(live=4), Counter(live=3))
    report.divergent.append(Divergence(AT, "live", AT, AT, 1, (DIFFERENCE,), (bar,)))
    result = evaluate_replay(report, DAYS)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.ERROR)
    metadata = plain(result)
    assert metadata["observed"] == 0.75
    assert metadata["worst_offenders"] == "2026-03-05T15:30Z ml_tlt_price: served 90.5, replayed 90.25"
    assert metadata["bars_behind_the_first"] == "TLT 15m 2026-03-05T15:15Z close 90.25 basis 1.0 (price)"


def test_no_row_compared_is_no_proof() -> None:
    result = evaluate_replay(ReplayReport(other_definitions=Counter({"0123456789ab": 48})), DAYS)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert str(plain(result)["rows_not_compared"]).startswith("48 of other definitions, 0 that do not say ")


def test_rows_without_their_knowledge_are_no_proof_either() -> None:
    result = evaluate_replay(ReplayReport(1, 1, Counter(live=1), Counter(live=1), without_knowledge=2), DAYS)
    assert not result.passed
    assert "2 rows do not say what they were computed from" in str(result.description)
