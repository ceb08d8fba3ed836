"""Which pairs are highly correlated at the moment.

Belongs here: the selection by the threshold, shared by the asset's metadata and `status`. Does not belong
here: the measure.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from market_assets.store.tables import CRYPTO_CORRELATIONS

if TYPE_CHECKING:
    import pandas as pd

    from market_assets.store import Store

#: sessions older than this are not what is the case at the moment
_RECENT = timedelta(days=14)


def high_pairs(frame: pd.DataFrame, threshold: float) -> list[str]:
    """Return e.g. `BTC/QQQ 20: +0.71` for each pair whose newest absolute correlation reaches `threshold`."""
    latest = frame.sort_values("session").groupby(["crypto", "ticker", "sessions"], sort=True).tail(1)
    high = latest.loc[latest["correlation"].abs() >= threshold].sort_values(["crypto", "ticker", "sessions"])
    return [
        f"{crypto}/{ticker} {sessions}: {correlation:+.2f}"
        for crypto, ticker, sessions, correlation in high[["crypto", "ticker", "sessions", "correlation"]].itertuples(
            index=False, name=None
        )
    ]


def highly_correlated(store: Store, now: datetime, threshold: float) -> list[str]:
    """Return `high_pairs` of the last stored sessions."""
    today = now.date()
    frame = store.read(CRYPTO_CORRELATIONS, start=today - _RECENT, end=today + timedelta(days=1))
    return high_pairs(frame, threshold)
