"""Everything is wired here, and nowhere else: `build_definitions(...)` and `defs`.

Belongs here: which assets, checks, jobs, schedules, sensors and resources make up the code location. Does not belong
here: their content.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import dagster as dg

from market_assets.assets.registry import build_assets
from market_assets.automation.jobs import build_jobs
from market_assets.automation.purging import build_purge_job
from market_assets.automation.schedules import build_schedules
from market_assets.automation.sensors import build_sensors
from market_assets.checks.correlation import build_correlation_check
from market_assets.checks.lookahead import build_lookahead_check
from market_assets.checks.replayed import build_replay_check
from market_assets.clock import Clock, SystemClock
from market_assets.indicators import INDICATORS, Indicator
from market_assets.partitions import daily_partitions
from market_assets.resources import Progress, SourceFactory, build_resources
from market_assets.settings import Settings, configure_logging
from market_assets.stopping import Stop
from market_assets.universe import UNIVERSE, Universe

if TYPE_CHECKING:
    from market_assets.store import Store


def build_definitions(
    *,
    settings: Settings | None = None,
    universe: Universe = UNIVERSE,
    indicators: tuple[Indicator, ...] = INDICATORS,
    clock: Clock | None = None,
    store: Store | None = None,
    source_factory: SourceFactory | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> dg.Definitions:
    """Return the code location; every argument replaces one part of it.

    Raises:
        SettingsError: a setting has a bad value.
    """
    settings = settings or Settings.load()
    configure_logging(settings.log_level)
    clock = clock or SystemClock()
    with warnings.catch_warnings():
        # BackfillPolicy is marked beta in every release since 1.5; it is what makes a range of days one run.
        warnings.simplefilter("ignore", dg.BetaWarning)
        partitions = daily_partitions(settings)
        return dg.Definitions(
            assets=build_assets(universe, indicators, partitions, macro=settings.macro_indicators_compat),
            asset_checks=[
                build_lookahead_check(universe, indicators, clock),
                build_replay_check(universe, indicators, clock),
                build_correlation_check(universe, settings.high_correlation_threshold, clock),
            ],
            jobs=[*build_jobs(), build_purge_job(settings)],
            schedules=build_schedules(settings),
            sensors=build_sensors(settings, clock),
            resources=build_resources(
                settings=settings,
                universe=universe,
                indicators=indicators,
                clock=clock,
                store=store,
                source_factory=source_factory,
                progress=progress,
                stop=stop or Stop(),
            ),
            # Steps share the run's fetches, and the multiprocess executor would import everything once per step.
            executor=dg.in_process_executor,
        )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the code location of the environment's settings; built when Dagster loads it, not on import."""
    return build_definitions()
