"""The correlation analysis of what is stored.

Belongs here: which bars it reads. Does not belong here: the measures (`analysis/`), the stored correlations
(`correlated.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_assets.analysis.survey import Survey, survey, survey_days
from market_assets.calendars import to_us
from market_assets.collection.build import read_ticker_logs
from market_assets.collection.days import DayRange

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from market_assets.analysis.definitions import Definition
    from market_assets.store import Snapshot
    from market_assets.universe import Ticker


def survey_stored(
    snapshot: Snapshot,
    *,
    cryptos: Sequence[Ticker],
    tickers: Sequence[Ticker],
    windows: Sequence[int],
    end: date,
    now: datetime,
    definition: Definition,
) -> Survey:
    """Measure `tickers` against `cryptos` from the bars that `snapshot` shows; see `analysis.survey`."""
    days = DayRange(end, end).widened(survey_days(windows, definition.sampling))
    logs = read_ticker_logs(snapshot, (*cryptos, *tickers), days.start, days.end)
    return survey(
        logs,
        cryptos=cryptos,
        tickers=tickers,
        windows=windows,
        end=end,
        now_us=to_us(now),
        definition=definition,
    )
