"""Assets that go on when some of their sources are missing.

Belongs here: the one layout by which Dagster 1.13 does that. Does not belong here: any particular asset.

A plain dependency on a step that yielded no output skips the dependent step. Dagster skips a fan-in input only if all
of its sources are missing; with the always-materialized `tick` asset among them the step runs whatever failed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from market_assets.assets.common import OWNERS, TICK_KEY
from market_assets.checks.results import CheckEvent
from market_assets.collection.session import CollectionSession
from market_assets.collection.write import ScopedWrite
from market_assets.partitions import Partitioning

Yielded = dg.Output[ScopedWrite] | CheckEvent
Compute = Callable[[dg.OpExecutionContext, CollectionSession], Iterator[Yielded]]


def fan_in_asset(
    *,
    key: dg.AssetKey,
    description: str,
    metadata: Mapping[str, Any],
    upstream: Mapping[dg.AssetKey, dg.PartitionMapping],
    partitions: Partitioning,
    compute: Compute,
    checks: Sequence[dg.AssetCheckSpec] = (),
) -> dg.AssetsDefinition:
    """Return a graph asset over one op, ordered after `upstream` but skipped by none of it.

    `compute` yields the output and what each of `checks` has found.
    """
    name = key.path[-1]
    # A graph has an output for each check, and Nothing travels through it.
    check_outputs = [check.get_python_identifier() for check in checks]

    @dg.op(
        name=f"compute_{name}",
        ins={"upstream": dg.In(dg.Nothing)},
        out={
            "result": dg.Out(io_manager_key="io_manager"),
            **{output: dg.Out(dg.Nothing, is_required=False) for output in check_outputs},
        },
        description=description,
    )
    def _compute(context: dg.OpExecutionContext, collection: dg.ResourceParam[CollectionSession]) -> Iterator[Yielded]:
        yield from compute(context, collection)

    @dg.graph_asset(
        key=key,
        group_name="features",
        description=description,
        kinds={"python", "table"},
        owners=OWNERS,
        metadata=dict(metadata),
        ins={
            "__".join(source.path): dg.AssetIn(key=source, dagster_type=dg.Nothing, partition_mapping=mapping)
            for source, mapping in {TICK_KEY: dg.TimeWindowPartitionMapping(), **upstream}.items()
        },
        partitions_def=partitions.definition,
        backfill_policy=partitions.backfills,
        check_specs=checks,
    )
    def _graph(**sources: Any) -> Any:  # noqa: ANN401 - what Dagster composes with has no public type
        outputs = _compute(list(sources.values()))
        if not checks:
            return outputs
        return dict(zip(["result", *check_outputs], outputs, strict=True))

    return _graph
