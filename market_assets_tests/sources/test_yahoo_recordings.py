"""Recorded answers of the real Yahoo, played back through the real client: the bars that they really hold."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets.errors import (
    EmptyAnswerError,
    MalformedAnswerError,
    RateLimitedError,
    SourceAuthError,
    SourceError,
    SymbolNotFoundError,
    WindowRefusedError,
    WrongSymbolError,
)
from market_assets.sources.base import FetchAnswer, FetchRequest, Interval
from market_assets.universe import Category, Ticker

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets.clock import ManualClock
    from market_assets.sources.simulator import SimulatorServer
    from market_assets.sources.yahoo import YahooSource


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ticker(symbol: str, venue: str = "XNYS") -> Ticker:
    category = {"FX": Category.CURRENCIES, "UTC_24_7": Category.CRYPTO}.get(venue, Category.EQUITY_INDICES)
    return Ticker(symbol, symbol, category, venue, "USD", "recorded")


class Recordings:
    """Plays a recorded body, at an instant of the recording's time."""

    def __init__(self, folder: Path, simulator: SimulatorServer, source: YahooSource, clock: ManualClock) -> None:
        self.folder, self.simulator, self.source, self.clock = folder, simulator, source, clock

    def fetch(
        self, file: str, of: Ticker, interval: Interval, start: str, end: str, *, now: str, status: int = 200
    ) -> FetchAnswer:
        self.simulator.play(of.yahoo_symbol, (self.folder / file).read_bytes(), status=status)
        self.clock.set(instant(now))
        return self.source.fetch(FetchRequest(of, interval, instant(start), instant(end)))

    def fetch_as_15m(self, file: str, of: Ticker, start: str, end: str, *, now: str) -> FetchAnswer:
        """Pretend that shorter bars are 15m bars: the rules for rows are the same, there are more rows to reject."""
        body = json.loads((self.folder / file).read_bytes())
        body["chart"]["result"][0]["meta"]["dataGranularity"] = "15m"
        self.simulator.play(of.yahoo_symbol, json.dumps(body).encode())
        self.clock.set(instant(now))
        return self.source.fetch(FetchRequest(of, Interval.M15, instant(start), instant(end)))


@pytest.fixture
def recordings(shared_dir: Path, simulator: SimulatorServer, source: YahooSource, clock: ManualClock) -> Recordings:
    folder = shared_dir / "yahoo"
    if not folder.is_dir():
        pytest.skip(f"no recorded answers at {folder}")
    return Recordings(folder, simulator, source, clock)


def rejections(answer: FetchAnswer) -> dict[str, int]:
    return dict(Counter(answer.rejected["reason"]))


def starts(answer: FetchAnswer) -> list[str]:
    return [f"{start:%Y-%m-%d %H:%M}" for start in answer.bars["bar_start"]]


# --- daily ------------------------------------------------------------------------------------------------------------


def test_ten_daily_bars(recordings: Recordings) -> None:
    answer = recordings.fetch(
        "aapl_1d_10bars.json", ticker("AAPL"), Interval.D1, "2024-09-30", "2024-10-12", now="2024-10-12T12:00"
    )
    assert len(answer.bars) == 10
    assert answer.rejected.empty
    first = answer.bars.iloc[0]
    assert (first["bar_start"], first["bar_end"]) == (instant("2024-09-30T13:30"), instant("2024-09-30T20:00"))
    assert first[["open", "close", "volume"]].tolist() == [230.0399932861328, 233.0, 54541900.0]


def test_a_year_with_dividends_and_a_split(recordings: Recordings) -> None:
    answer = recordings.fetch(
        "aapl_1d_1y_split_div.json", ticker("AAPL"), Interval.D1, "2020-01-01", "2021-01-01", now="2021-11-13"
    )
    assert len(answer.bars) == 253
    assert answer.rejected.empty
    assert answer.actions.to_dict("records") == [
        {"kind": "dividend", "ex_date": date(2020, 2, 7), "value": 0.1925},
        {"kind": "dividend", "ex_date": date(2020, 5, 8), "value": 0.205},
        {"kind": "dividend", "ex_date": date(2020, 8, 7), "value": 0.205},
        {"kind": "dividend", "ex_date": date(2020, 11, 6), "value": 0.205},
        {"kind": "split", "ex_date": date(2020, 8, 31), "value": 4.0},
    ]


def test_only_the_actions_of_the_window_are_answered(recordings: Recordings) -> None:
    answer = recordings.fetch(
        "qqq_1d_1y_div.json", ticker("QQQ"), Interval.D1, "2020-06-22", "2020-12-21", now="2021-11-13"
    )
    assert answer.actions["ex_date"].tolist() == [date(2020, 6, 22)]
    assert starts(answer)[0] == "2020-06-22 13:30"
    assert starts(answer)[-1] == "2020-12-18 14:30"


def test_null_days_of_bitcoin_are_rejected(recordings: Recordings) -> None:
    answer = recordings.fetch(
        "btcusd_1d_1y_nulls.json", ticker("BTC-USD", "UTC_24_7"), Interval.D1, "2020-01-01", "2021-01-05",
        now="2021-11-13T04:36",
    )  # fmt: skip
    assert len(answer.bars) == 366
    assert [f"{start:%m-%d}" for start in answer.rejected["bar_start"]] == ["04-17", "10-09", "10-12", "10-13"]
    assert rejections(answer) == {"null_bar": 4}


def test_currency_days_are_london_days_and_holidays_belong_to_no_session(recordings: Recordings) -> None:
    answer = recordings.fetch(
        "eurusd_1d_1y.json", ticker("EURUSD=X", "FX"), Interval.D1, "2019-12-31", "2021-01-05", now="2021-11-12T22:30"
    )
    assert len(answer.bars) == 261
    assert [f"{start:%Y-%m-%d}" for start in answer.rejected["bar_start"]] == ["2020-01-01", "2020-12-25", "2021-01-01"]
    assert rejections(answer) == {"off_session": 3}
    assert "2020-01-02 00:00" in starts(answer)
    assert "2020-06-30 23:00" in starts(answer)
    lengths = (answer.bars["bar_end"] - answer.bars["bar_start"]).unique()
    assert set(lengths) == {timedelta(days=1)}  # the days on which clocks change are Sundays


def test_a_future_stamped_at_midnight_belongs_to_the_session_of_that_date(recordings: Recordings) -> None:
    answer = recordings.fetch(
        "gold_future_1d.json", ticker("GC=F", "ICE_USDX"), Interval.D1, "2020-01-01", "2020-01-03", now="2025-02-20"
    )
    assert starts(answer) == ["2020-01-02 00:00"]
    assert answer.bars["bar_end"].iloc[0] == instant("2020-01-02T22:00")


def test_a_null_day_between_two_others(recordings: Recordings) -> None:
    answer = recordings.fetch(
        "wsu_de_1d_null.json", ticker("WSU.DE"), Interval.D1, "2023-08-04", "2023-08-09", now="2023-09-04"
    )
    assert answer.bars["close"].tolist() == [34.45000076293945, 33.20000076293945]
    assert rejections(answer) == {"null_bar": 1}


def test_one_bar_alone(recordings: Recordings) -> None:
    answer = recordings.fetch(
        "qqq_1d_1bar.json", ticker("QQQ"), Interval.D1, "2020-01-02", "2020-01-03", now="2025-02-19T22:00"
    )
    assert answer.bars["close"].tolist() == [216.16000366210938]


# --- intraday ---------------------------------------------------------------------------------------------------------


def test_a_live_row_and_the_bars_under_way_are_rejected(recordings: Recordings) -> None:
    answer = recordings.fetch_as_15m(
        "live_aapl_5m_1d_live_row.json", ticker("AAPL"), "2026-10-05", "2026-10-06", now="2026-10-05T13:58:28"
    )
    assert starts(answer) == ["2026-10-05 13:30"]
    assert rejections(answer) == {"off_grid": 4, "unfinished": 1, "live_row": 1}
    live = answer.rejected.iloc[-1]
    assert (f"{live['bar_start']:%H:%M:%S}", live["reason"]) == ("13:58:27", "live_row")


def test_a_null_minute_and_the_closing_print(recordings: Recordings) -> None:
    answer = recordings.fetch_as_15m(
        "aapl_1m_1day_null.json", ticker("AAPL"), "2024-10-02", "2024-10-04", now="2024-10-04"
    )
    assert len(answer.bars) == 25  # of 26 quarters, that of 11:15 is null
    assert rejections(answer) == {"off_grid": 364, "null_bar": 1, "off_session": 1}


def test_pre_and_post_market_rows_are_off_session(recordings: Recordings) -> None:
    answer = recordings.fetch_as_15m(
        "tsla_30m_native_prepost.json", ticker("TSLA"), "2021-11-22", "2021-11-23", now="2021-11-23"
    )
    assert starts(answer)[0] == "2021-11-22 14:30"
    assert starts(answer)[-1] == "2021-11-22 20:30"
    assert len(answer.bars) == 13
    assert rejections(answer) == {"off_session": 17}


def test_index_rows_in_chicago_time(recordings: Recordings) -> None:
    answer = recordings.fetch_as_15m(
        "lpad_yahoo_chart_tnx_5m_1d.json", ticker("^TNX", "CBOE_INDEX"), "2026-02-02", "2026-02-03",
        now="2026-02-02T20:00",
    )  # fmt: skip
    assert starts(answer)[0] == "2026-02-02 18:45"
    assert (answer.bars["volume"] == 0).all()


def test_bars_of_a_minute_do_not_pass_for_bars_of_a_quarter(recordings: Recordings) -> None:
    with pytest.raises(MalformedAnswerError, match="has bars of 1m"):
        recordings.fetch(
            "aapl_1m_1day_null.json", ticker("AAPL"), Interval.M15, "2024-10-02", "2024-10-03", now="2024-10-04"
        )


def test_a_weekend_without_rows_is_no_error(recordings: Recordings) -> None:
    answer = recordings.fetch_as_15m(
        "aapl_1m_weekend_empty.json", ticker("AAPL"), "2025-02-15", "2025-02-17", now="2025-02-20"
    )
    assert answer.bars.empty
    assert answer.rejected.empty


# --- no answer --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "status", "error"),
    [
        ("err_401_invalid_crumb.json", 401, SourceAuthError),
        ("err_404_mdly.json", 404, SymbolNotFoundError),
        ("err_422_5m_beyond_60d_t.json", 422, WindowRefusedError),
        ("err_429_body.txt", 429, RateLimitedError),
        ("err_404_mdly.json", 200, MalformedAnswerError),
        ("FAKE_notimestamp_quote_len.json", 200, MalformedAnswerError),
        ("index_vxapl_1d_empty.json", 200, WrongSymbolError),
    ],
)
def test_recorded_refusals_have_their_error(
    recordings: Recordings, file: str, status: int, error: type[SourceError]
) -> None:
    with pytest.raises(error, match="AAPL 1d 2024-09-30"):
        recordings.fetch(
            file, ticker("AAPL"), Interval.D1, "2024-09-30", "2024-10-12", now="2024-10-12T12:00", status=status
        )


def test_a_known_symbol_without_any_row_is_an_empty_answer(recordings: Recordings) -> None:
    with pytest.raises(EmptyAnswerError, match="no bar though the venue finished 5"):
        recordings.fetch(
            "index_vxapl_1d_empty.json", ticker("^VXAPL", "CBOE_INDEX"), Interval.D1, "2021-11-15", "2021-11-20",
            now="2021-11-20T12:00",
        )  # fmt: skip
