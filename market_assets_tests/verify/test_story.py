"""Replay, look-ahead, revisions and evidence over three days in which everything happens."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets.calendars import to_us
from market_assets.store.tables import MARKET_BARS
from market_assets.verify.evidence import bars_behind, explain, tickers_of
from market_assets.verify.history import LogHistory
from market_assets.verify.lookahead import verify_lookahead
from market_assets.verify.observe import same_bits
from market_assets.verify.replay import replay
from market_assets.verify.revisions import revisions
from market_assets.verify.served import Definitions
from market_assets_tests.feature_log import STORY

if TYPE_CHECKING:
    from market_assets.verify.replay import ReplayReport
    from market_assets_tests.feature_log import FeatureLog

START, END = datetime(2026, 2, 27, tzinfo=UTC), datetime(2026, 3, 6, tzinfo=UTC)
LATE_AFTER = timedelta(minutes=61)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-{text}+00:00")


def definitions(log: FeatureLog) -> Definitions:
    return Definitions(log.universe, log.indicators)


def replayed(log: FeatureLog, *, every_version: bool = False) -> ReplayReport:
    return replay(log.store, START, END, definitions(log), every_version=every_version)


def execute(log: FeatureLog, statement: str, *values: object) -> None:
    path = log.store.database.url.database
    assert path is not None
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount == 1


# --- replay -----------------------------------------------------------------------------------------------------------


def test_every_version_of_every_row_comes_out_of_the_log_again(story: FeatureLog) -> None:
    served, every = replayed(story), replayed(story, every_version=True)
    assert served.proven
    assert every.proven
    assert every.compared > served.compared
    assert served.origins.keys() == {"backfill", "live", "catch_up"}
    assert served.identical_by_origin == served.origins
    assert served.to_json()["share"] == 1.0


def test_a_row_is_computed_from_its_own_read_as_of_and_from_no_later_knowledge(own_story: FeatureLog) -> None:
    """A row that would be taken from the knowledge of now would not have the late and the revised bars."""
    execute(
        own_story,
        "UPDATE ml_features_history SET read_as_of = read_as_of + 86400000000 "
        "WHERE observed_at = (SELECT min(observed_at) FROM ml_features_history)",
    )
    report = replayed(own_story)
    assert (report.compared - report.identical, report.proven) == (1, False)


def test_a_flipped_bit_of_a_bar_is_found_and_named(own_story: FeatureLog) -> None:
    execute(
        own_story,
        "UPDATE market_bars SET close = close * (1 + 2.3e-16) "
        "WHERE ticker = 'TLT' AND interval = '15m' AND bar_start = ?",
        to_us(at("05T15:15")),
    )
    report = replayed(own_story)
    assert report.compared - report.identical == 1
    assert report.first is not None
    assert report.first.observed_at == at("05T15:30")
    assert [one.column for one in report.first.differences][:1] == ["ml_tlt_price"]
    assert [str(bar.key) for bar in report.first.bars if bar.why == "price"] == ["TLT 15m 2026-03-05T15:15Z"]
    assert str(report.first).startswith("2026-03-05T15:30Z ml_tlt_price: served ")
    assert report.to_json()["divergent"][0]["bars"][0]["bar"] == "TLT 15m 2026-03-05T15:15Z"


def test_nothing_compared_is_nothing_proven(story: FeatureLog) -> None:
    empty = replay(story.store, END, END + timedelta(days=1), definitions(story))
    assert (empty.compared, empty.share, empty.proven) == (0, 0.0, False)


def test_rows_of_other_definitions_are_told_and_not_compared(story: FeatureLog) -> None:
    other = replay(story.store, START, END, Definitions(story.universe, ()))
    assert (other.compared, other.proven) == (0, False)
    assert sum(other.other_definitions.values()) == replayed(story).compared


def test_a_row_that_does_not_say_what_it_was_computed_from_is_no_proof(own_story: FeatureLog) -> None:
    execute(
        own_story,
        "UPDATE ml_features SET read_as_of = NULL WHERE observed_at = (SELECT max(observed_at) FROM ml_features)",
    )
    report = replayed(own_story)
    assert (report.without_knowledge, report.identical == report.compared, report.proven) == (1, True, False)


# --- look-ahead -------------------------------------------------------------------------------------------------------


def test_no_served_row_moves_with_its_future(story: FeatureLog) -> None:
    report = verify_lookahead(story.store, START, END, definitions(story), sample=24)
    assert (report.judged, report.proven) == (24, True)


def test_a_served_row_that_the_log_does_not_give_is_named(own_story: FeatureLog) -> None:
    execute(own_story, "UPDATE ml_features SET ml_hyg_price = 1.0 WHERE observed_at = ?", to_us(at("05T15:30")))
    report = verify_lookahead(own_story.store, at("05T15:00"), at("05T16:00"), definitions(own_story))
    assert [(one.observed_at, one.kind) for one in report.moved] == [(at("05T15:30"), "not_reproducible")]
    assert report.moved[0].differences[0].one == 1.0
    assert not report.proven


def test_the_newest_rows_or_a_drawn_sample_are_judged(story: FeatureLog) -> None:
    seen: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        seen.append((done, total))

    newest = verify_lookahead(story.store, START, END, definitions(story), sample=2, newest_first=True, progress=note)
    assert (newest.judged, seen) == (2, [(1, 2), (2, 2)])
    assert verify_lookahead(story.store, END, END + timedelta(days=1), definitions(story)).proven is False


# --- revisions --------------------------------------------------------------------------------------------------------


def test_revised_bars_and_the_rows_they_changed_are_told_with_how_much(story: FeatureLog) -> None:
    found = revisions(story.store, START, END, definitions(story), late_after=LATE_AFTER)
    revised = {str(one.bar_start): one for one in found.bars if one.kind == "revised" and one.ticker == "HYG"}
    assert list(revised) == ["2026-03-03 15:15:00+00:00"]
    [bar] = revised.values()
    assert {change.column: change.latest for change in bar.changes} == {"high": 81.5, "close": 81.25}
    rows = {one.observed_at: one for one in found.rows}
    row = rows[at("03T15:30")]
    assert row.origin == "live"
    price = next(change for change in row.changes if change.column == "ml_hyg_price")
    assert price.latest == 81.25
    assert price.served is not None
    assert price.relative == pytest.approx(81.25 / price.served - 1.0)
    assert "HYG 15m 2026-03-03T15:15Z revised" in " ".join(map(str, row.causes))


def test_a_late_bar_is_told_and_explains_the_row_that_was_served_without_it(story: FeatureLog) -> None:
    found = revisions(story.store, START, END, definitions(story), late_after=timedelta(minutes=29))
    assert ("QQQ", at("03T14:45")) in {(one.ticker, one.bar_start) for one in found.bars if one.kind == "late"}
    row = next(one for one in found.rows if one.observed_at == at("03T15:00"))
    assert [(cause.what, cause.kind, cause.first) for cause in row.causes] == [
        ("QQQ 15m 2026-03-03T14:45Z", "late", None)
    ]
    assert "ml_qqq_price" in {change.column for change in row.changes}


def test_an_outage_makes_bars_late_but_changes_no_row_that_was_caught_up(story: FeatureLog) -> None:
    found = revisions(story.store, START, END, definitions(story), late_after=LATE_AFTER)
    outage = {one.bar_start for one in found.bars if one.kind == "late" and one.ticker == "TLT"}
    assert {at("03T16:30"), at("03T17:00")} <= outage
    assert not [one for one in found.rows if at("03T17:00") <= one.observed_at < at("03T18:00")]


def test_quiet_days_have_no_revisions(story: FeatureLog) -> None:
    quiet = revisions(story.store, at("05T15:00"), END, definitions(story), late_after=LATE_AFTER)
    assert (quiet.rows, quiet.bars) == ([], [])
    assert quiet.rows_seen == 2
    assert quiet.bars_seen == 9  # the VIX's second one has not been published


# --- history and evidence ---------------------------------------------------------------------------------------------


def test_the_history_gives_at_every_instant_what_the_database_reads_as_of_it(story: FeatureLog) -> None:
    with story.store.snapshot() as snapshot:
        history = LogHistory.read(snapshot, story.universe.features, START, END)
        stamps = sorted(set(snapshot.versions(MARKET_BARS, start=START, end=END)["known_from"]))
    for stamp in stamps[:: len(stamps) // 6]:
        with story.store.snapshot(stamp.to_pydatetime()) as snapshot:
            stored = snapshot.read(MARKET_BARS, start=START, end=END, columns=("bar_end", "close", "basis"))
        for name, own in history.as_of(to_us(stamp.to_pydatetime())).items():
            expected = stored.loc[stored["ticker"] == name].reset_index(drop=True)
            given = own.bars.sort_values(["interval", "bar_start"]).reset_index(drop=True)
            for column in ("interval", "bar_start", "bar_end", "close", "basis"):
                assert same_bits(given[column].to_numpy(), expected[column].to_numpy()).all(), (name, column)


def test_a_value_names_the_bars_it_stands_on(story: FeatureLog) -> None:
    with story.store.snapshot() as snapshot:
        logs = LogHistory.read(snapshot, story.universe.features, datetime(2026, 1, 1, tzinfo=UTC), END).as_of(
            to_us(snapshot.watermark)
        )
    used = bars_behind(logs["HYG"], to_us(at("05T15:30")), sessions=2)
    assert [(str(one.key), one.why) for one in used] == [
        ("HYG 15m 2026-03-05T15:15Z", "price"),
        ("HYG 1d 2026-03-03T14:30Z", "close of 2026-03-03"),
        ("HYG 1d 2026-03-04T14:30Z", "close of 2026-03-04"),
    ]
    assert explain(to_us(at("05T15:30")), story.universe.features, logs, logs) == []


def test_a_column_names_its_tickers(story: FeatureLog) -> None:
    assert tickers_of("ml_vix_price", STORY, story.indicators) == ("VIX",)
    assert tickers_of("ml_risk_on_ratio", STORY, story.indicators) == ("QQQ", "HYG", "VIX", "TLT")
    assert tickers_of("ages", STORY, story.indicators) == ("QQQ", "HYG", "TLT", "VIX")
