"""What Dagster loads of an asset, as it was known at an instant."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from market_assets.errors import NaiveTimestampError
from market_assets.io_manager import AS_OF
from market_assets_tests.integration.conftest import FIRST_TICK

if TYPE_CHECKING:
    from market_assets_tests.integration.conftest import Workshop

pytestmark = pytest.mark.integration


def test_every_asset_can_be_loaded_as_it_was_known_at_an_instant(workshop: Workshop) -> None:
    collector = workshop.bootstrapped()
    day = FIRST_TICK.date()
    then = collector.store.watermark()
    before = collector.rows(day)
    assert collector.at(FIRST_TICK + timedelta(minutes=60)).collect().success

    def load(key: str, as_of: str | None = None) -> Any:
        loader = collector.definitions.get_asset_value_loader(collector.instance)
        with loader:
            return loader.load_asset_value(
                dg.AssetKey(key.split("/")),
                partition_key=day.isoformat(),
                input_definition_metadata=None if as_of is None else {AS_OF: as_of},
            )

    assert len(load("ml_features")) > len(load("ml_features", then.isoformat())) == len(before)
    now, known = load("ticker/QQQ"), load("ticker/QQQ", then.isoformat())
    assert (len(now.bars), len(known.bars)) == (6, 2)
    [indicator] = [one for one in collector.indicators if one.name == "market_breadth"] or collector.indicators[:1]
    key = f"indicator/{indicator.name}"
    assert len(load(key)) > len(load(key, then.isoformat())) == len(before)
    assert set(load("crypto_ml_features_materialized")["symbol"]) == {"BTC"}
    assert list(load("crypto_correlations", then.isoformat()).columns)[:2] == ["crypto", "ticker"]
    with pytest.raises(ValueError, match="market_assets/as_of=yesterday: is no instant"):
        load("ticker/QQQ", "yesterday")
    with pytest.raises(NaiveTimestampError):
        load("ticker/QQQ", "2026-01-02T15:00")
