"""Training sets and receipts on every database, and from rows that Dagster's runs have served."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from market_assets import FeatureStore
from market_assets.client.columns import Catalogue
from market_assets.receipts import read_receipt, verify_receipt
from market_assets.store.tables import MARKET_BARS
from market_assets_tests.databases import ALL_DATABASES, database_url
from market_assets_tests.feature_log import STORY, FeatureLog, tell_story

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets_tests.integration.conftest import Workshop

__all__ = ["database_url"]

pytestmark = pytest.mark.integration

STORY_FEATURES = [f"ml_{ticker.name.lower()}_price" for ticker in STORY.features]


def entities(start: str, end: str, every: str) -> pd.DataFrame:
    times = pd.date_range(start, end, freq=every, tz="UTC")
    return pd.DataFrame({"timestamp": times, "symbol": "BTC", "label": range(len(times))})


@pytest.mark.parametrize("database_url", ALL_DATABASES[1:], indirect=True)
def test_every_database_gives_the_same_training_sets_and_receipts(
    database_url: str, story: FeatureLog, tmp_path: Path
) -> None:
    log = tell_story(database_url)
    asked = entities("2026-03-02T20:00", "2026-03-05T16:00", "37min")
    features = [*STORY_FEATURES, "ml_nasdaq_correlation"]
    for number, vintage in enumerate(("served", "revised")):
        options = {"features": features, "vintage": vintage, "ages": True}
        frame = log.client.training_set(asked, **options)  # type: ignore[arg-type]
        expected = story.client.training_set(asked, **options)  # type: ignore[arg-type]
        pd.testing.assert_frame_equal(frame, expected, check_exact=True)
        here, there = tmp_path / f"here{number}.csv", tmp_path / f"there{number}.csv"
        log.client.to_csv(frame, here)
        story.client.to_csv(expected, there)
        # A data set can be verified against a copy of the log on another database.
        assert verify_receipt(here, log.store, log.catalogue).findings == ()
        assert verify_receipt(there, log.store, log.catalogue).findings == ()
        ours, theirs = read_receipt(here), read_receipt(there)
        assert ours.pop("database") != theirs.pop("database")
        assert ours["bars"] == theirs["bars"]
        assert ours["columns"] == theirs["columns"]
    bars = log.store.schema.current(MARKET_BARS)
    first = log.store.read(MARKET_BARS, series=["BTC"], intervals=["1d"]).iloc[0]
    start, close = first["bar_start"].to_pydatetime(), float(np.nextafter(first["close"], np.inf))
    own = (bars.columns.ticker == "BTC") & (bars.columns.interval == "1d") & (bars.columns.bar_start == start)
    with log.store.database.engine.begin() as connection:
        assert connection.execute(sa.update(bars).where(own).values(close=close)).rowcount == 1
    for path in (here, there):
        (finding,) = verify_receipt(path, log.store, log.catalogue).findings
        assert finding.subject == f"bar BTC 1d {start:%Y-%m-%dT%H:%MZ}"
        assert f"close={close!r}" in finding.detail
    log.store.close()


def test_rows_served_by_a_week_of_runs_are_computed_again_to_the_bit(workshop: Workshop, tmp_path: Path) -> None:
    collector, _ = workshop.after_the_week()
    catalogue = Catalogue(collector.universe, collector.indicators)
    with FeatureStore(store=collector.store, universe=collector.universe, indicators=collector.indicators) as client:
        asked = entities("2024-11-20", "2024-12-03T02:00", "41min")
        names = [*catalogue.features, "ml_nasdaq_correlation"]
        for number, vintage in enumerate(("served", "revised")):
            frame = client.training_set(asked, features=names, vintage=vintage)  # type: ignore[arg-type]
            assert frame["ml_qqq_price"].notna().mean() > 0.8
            path = tmp_path / f"{number}.parquet"
            client.to_parquet(frame, path)
            verdict = verify_receipt(path, collector.store, catalogue)
            assert verdict.findings == ()
            assert verdict.recomputed > 60
