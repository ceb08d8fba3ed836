"""The job that purges Dagster's old runs.

Belongs here: the job. Does not belong here: which runs go (`retention.py`), when it runs (`schedules.py`).
"""

from datetime import timedelta

import dagster as dg

from market_assets.alerts.evaluations import PURGE_KIND
from market_assets.automation.jobs import KIND_TAG, PURGE_JOB
from market_assets.clock import SystemClock
from market_assets.settings import Settings

#: after this the job leaves the rest to the next night: an instance that has never been purged may hold a year of ticks
_SECONDS = 1800.0


def build_purge_job(settings: Settings) -> dg.JobDefinition:
    """Return the job; it takes no lock and opens no market database, so that ticks go on meanwhile."""

    @dg.op(
        out=dg.Out(dg.Nothing),
        description="Purges runs that are older than RUN_RETENTION_DAYS, and what was superseded of them.",
    )
    def purge_old_runs(context: dg.OpExecutionContext) -> None:
        if settings.run_retention_days == 0:
            context.log.info("RUN_RETENTION_DAYS=0: runs are kept for ever")
            return
        # Its storage brings Alembic along, which no other run needs.
        from market_assets.automation.retention import plan_purge, purge, time_limit  # noqa: PLC0415

        # Dagster stamps runs by the machine's clock.
        before = SystemClock().now() - timedelta(days=settings.run_retention_days)
        origin = context.run.remote_job_origin
        location = None if origin is None else origin.repository_origin.code_location_origin.location_name
        plan = plan_purge(context.instance, before, location)
        context.log.info("%d old runs go, %d stay", len(plan.going), len(plan.staying))
        context.log.info("purged %s", purge(context.instance, plan, time_limit(_SECONDS)))

    @dg.job(
        name=PURGE_JOB,
        tags={KIND_TAG: PURGE_KIND},
        description=(
            "Purge Dagster's runs and events older than RUN_RETENTION_DAYS. The newest materialization and check "
            "evaluation of every asset partition stay."
        ),
    )
    def purge_runs() -> None:
        purge_old_runs()

    return purge_runs
