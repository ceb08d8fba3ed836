from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, cast

import pytest

from market_assets.collection.build import build_correlations
from market_assets.collection.days import DayRange
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from market_assets.store import Snapshot

WEDNESDAY = DayRange(date(2025, 6, 11), date(2025, 6, 11))


class CountingSnapshot:
    """Stands in for a snapshot; whoever reads it wants the bars of the named series."""

    watermark = datetime(2025, 6, 11, 18, 0, tzinfo=UTC)

    def read(self, *_: object, series: list[str], **__: object) -> None:
        raise LookupError(",".join(series))


def build(now: datetime) -> int:
    write = build_correlations(cast("Snapshot", CountingSnapshot()), WEDNESDAY, now, UNIVERSE)
    return len(write.replacements[0].frame)


def test_no_bar_is_read_for_correlations_before_a_session_of_the_day_has_closed() -> None:
    assert build(datetime(2025, 6, 11, 18, 31, tzinfo=UTC)) == 0


def test_only_tickers_whose_session_has_closed_are_read_for_correlations() -> None:
    with pytest.raises(LookupError) as read:
        build(datetime(2025, 6, 11, 20, 1, tzinfo=UTC))
    assert "QQQ" in str(read.value)
    assert "BTC" in str(read.value)
    assert "EURUSD" not in str(read.value)  # closes at 21:00
    assert "VIX" not in str(read.value)  # closed at 20:15, published at 20:30
