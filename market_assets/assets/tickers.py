"""One asset per ticker: its bars, as the source tells them and the venue's calendar allows them.

Belongs here: the ticker factory. Does not belong here: what is fetched and how it is checked (`collection/`).
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import dagster as dg

from market_assets.assets.common import FEATURES_KEY, OWNERS, Metadata, column_schema, preview, ticker_key
from market_assets.checks.results import CheckEvent, ticker_check_results, ticker_check_specs
from market_assets.collection.calendar_map import LEGEND, WEEKS, calendar_map, states_by_day
from market_assets.collection.coverage import GAPS
from market_assets.collection.outcome import TickerOutcome
from market_assets.collection.session import CollectionSession
from market_assets.collection.write import ScopedWrite
from market_assets.partitions import Partitioning, days_of
from market_assets.pictures import sparkline
from market_assets.universe import Ticker

_GAPS_TOLD = 5
#: Dagster's concurrency pool of what asks Yahoo; without a limit in the instance's configuration it limits nothing
YAHOO_POOL = "yahoo"

_COLUMNS = (
    ("ticker", "string", "name in the universe"),
    ("interval", "string", "15m, 1h or 1d"),
    ("bar_start", "timestamp", "start of the bar, UTC"),
    ("bar_end", "timestamp", "end of the bar, UTC; it may be used once the feed lag has passed too"),
    ("open", "double", "first price"),
    ("high", "double", "highest price"),
    ("low", "double", "lowest price"),
    ("close", "double", "last price; split-adjusted as the source had it, not dividend-adjusted"),
    ("volume", "double", "shares or contracts; 0 where the venue states none"),
    ("basis", "double", "ratio of later splits already applied: close x basis is the price as traded"),
    ("source", "string", "where the bar came from"),
    ("known_from", "timestamp", "when this version was stored, UTC"),
)


def build_ticker_asset(ticker: Ticker, partitions: Partitioning) -> dg.AssetsDefinition:
    """Return the asset of `ticker`.

    A ticker whose fetch fails yields no output, only its checks, of which `bars_were_fetched` has failed: the UI must
    not show it as fresh, and what does not need it goes on.
    """
    key = ticker_key(ticker.name)
    lag = f", published {ticker.feed_lag.seconds // 60} min late" if ticker.feed_lag else ""
    inverse = ", inverted" if ticker.inverted else ""

    @dg.asset(
        key=key,
        group_name=ticker.category.value,
        description=f"{ticker.description}: 15m, 1h and 1d bars of Yahoo's `{ticker.yahoo_symbol}`{inverse}{lag}.",
        kinds={"yfinance", "table"},
        owners=OWNERS,
        tags={"venue": ticker.venue},
        metadata={
            **column_schema(_COLUMNS),
            "dagster/table_name": "market_bars",
            "yahoo_symbol": ticker.yahoo_symbol,
            "venue": ticker.venue,
            "unit": ticker.unit,
        },
        partitions_def=partitions.definition,
        backfill_policy=partitions.backfills,
        output_required=False,
        # A queue of runs that limits this pool by run lets one run at a time ask the source.
        pool=YAHOO_POOL,
        check_specs=ticker_check_specs(key),
    )
    def _ticker(
        context: dg.AssetExecutionContext, collection: dg.ResourceParam[CollectionSession]
    ) -> Iterator[dg.Output[ScopedWrite] | CheckEvent]:
        features_follow = FEATURES_KEY in _selected_keys(context)
        if features_follow:
            collection.expect_features()
        days = days_of(context)
        outcome = collection.collect(ticker, days, _selected_tickers(context))
        if outcome.write is not None:

            def committed() -> Metadata:
                collection.stored(ticker)
                return _coverage(collection, ticker)

            yield dg.Output(replace(outcome.write, after=committed), metadata=_metadata(outcome))
        else:
            context.log.error("%s: %s", ticker.name, outcome.message)
        yield from ticker_check_results(key, collection, ticker, outcome, days)
        if not features_follow:
            # With a feature row in the run, that step fails the run after it has written the row.
            collection.fail_if_nothing_was_collected()

    return _ticker


def _selected_keys(context: dg.AssetExecutionContext) -> set[dg.AssetKey]:
    return set(context.job_def.asset_layer.selected_asset_keys)


def _selected_tickers(context: dg.AssetExecutionContext) -> list[str]:
    # A run that goes on from a failed one has only the steps that are left.
    steps = context.run.step_keys_to_execute
    return [
        key.path[1]
        for key in _selected_keys(context)
        if key.path[0] == "ticker" and (steps is None or key.to_python_identifier() in steps)
    ]


def _coverage(collection: CollectionSession, ticker: Ticker) -> Metadata:
    today = collection.now.date()
    first, after = today - timedelta(days=7 * WEEKS - 1), today + timedelta(days=1)
    entries = collection.store.runs.states(first, after, tickers=[ticker.name])
    shown = calendar_map(states_by_day(entries), today)
    gaps = [f"{one.day} {one.interval}: {one.detail}" for one in entries if one.state in GAPS]
    metadata: Metadata = {"coverage": dg.MetadataValue.md(f"```\n{shown}\n```\n{LEGEND}")}
    if gaps:
        metadata["gaps"] = "; ".join(reversed(gaps[-_GAPS_TOLD:]))
    return metadata


def _metadata(outcome: TickerOutcome) -> Metadata:
    bars = outcome.bars
    metadata: Metadata = {
        "dagster/row_count": len(bars),
        "source": outcome.source,
        "requests": outcome.requests,
    }
    for request in outcome.windows:
        metadata[f"window/{request.interval}"] = f"{request.start:%Y-%m-%d %H:%M} to {request.end:%Y-%m-%d %H:%M} UTC"
    if not bars.empty:
        latest = bars.sort_values("bar_end").iloc[-1]
        metadata["latest_close"] = float(latest["close"])
        metadata["latest_bar_end"] = dg.MetadataValue.timestamp(latest["bar_end"].to_pydatetime())
        metadata["preview"] = preview(
            bars.sort_values("bar_end"), ["interval", "bar_start", "open", "high", "low", "close", "volume"]
        )
        finest = bars.loc[bars["interval"] == bars.iloc[-1]["interval"]].sort_values("bar_end")
        metadata["closes"] = sparkline(finest["close"].tolist())
    if outcome.quarantined:
        metadata["quarantined"] = outcome.quarantined
    if outcome.rejected:
        metadata["not_bars"] = ", ".join(f"{count} {reason}" for reason, count in sorted(outcome.rejected.items()))
    return metadata
