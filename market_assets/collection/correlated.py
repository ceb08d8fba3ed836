"""What is stored of the correlations, as people look at it.

Belongs here: the newest value of each pair, the selection by the threshold, shared by the asset's metadata and
`status`. Does not belong here: the measure.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from market_assets.store.tables import CRYPTO_CORRELATIONS

if TYPE_CHECKING:
    import pandas as pd

    from market_assets.store import Store
    from market_assets.universe import Universe

#: sessions older than this are not what is the case at the moment
_RECENT = timedelta(days=14)


def high_pairs(frame: pd.DataFrame, threshold: float) -> list[str]:
    """Return e.g. `BTC/QQQ 20: +0.71` for each pair whose newest absolute correlation reaches `threshold`."""
    latest = _newest(frame)
    high = latest.loc[latest["correlation"].abs() >= threshold].sort_values(["crypto", "ticker", "sessions"])
    return [
        f"{crypto}/{ticker} {sessions}: {correlation:+.2f}"
        for crypto, ticker, sessions, correlation in high[["crypto", "ticker", "sessions", "correlation"]].itertuples(
            index=False, name=None
        )
    ]


def highly_correlated(store: Store, now: datetime, threshold: float) -> list[str]:
    """Return `high_pairs` of the last stored sessions."""
    return high_pairs(recent_correlations(store, now.date()), threshold)


def recent_correlations(store: Store, last: date) -> pd.DataFrame:
    """Return the stored correlations of the fortnight up to the session `last`."""
    return store.read(CRYPTO_CORRELATIONS, start=last - _RECENT, end=last + timedelta(days=1))


def documented_beside_measured(frame: pd.DataFrame, universe: Universe) -> list[tuple[str, ...]]:
    """Return a table of texts, its heading first: a ticker's documented value and the newest measured ones.

    `frame` holds stored or computed correlations; what is not in it has a dash.
    """
    newest = _newest(frame)
    value = {
        (crypto, ticker, sessions): correlation
        for crypto, ticker, sessions, correlation in newest[["crypto", "ticker", "sessions", "correlation"]].itertuples(
            index=False, name=None
        )
    }
    windows = sorted(newest["sessions"].unique().tolist())
    columns = [(crypto.name, sessions) for crypto in universe.crypto for sessions in windows]
    rows = [("ticker", "documented", *(f"{crypto} {sessions}" for crypto, sessions in columns))]
    rows += [
        (
            ticker.name,
            _signed(ticker.documented_crypto_correlation),
            *(_signed(value.get((crypto, ticker.name, sessions))) for crypto, sessions in columns),
        )
        for ticker in universe.features
    ]
    return rows


def _newest(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the last session's row of each pair and window; of equal sessions the one that comes last."""
    return frame.sort_values("session", kind="stable").groupby(["crypto", "ticker", "sessions"], sort=True).tail(1)


def _signed(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:+.2f}"  # noqa: PLR0124 - NaN
