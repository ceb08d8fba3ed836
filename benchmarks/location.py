"""The code location at a clock that stands still, for a run worker as Dagster's daemon starts it.

Belongs here: `defs`. Does not belong here: anything else; the instant comes from the environment variable
`BENCHMARK_NOW`, everything else from the collector's own settings.
"""

from __future__ import annotations

import os
from datetime import datetime

from market_assets.clock import ManualClock
from market_assets.definitions import build_definitions

defs = build_definitions(clock=ManualClock(datetime.fromisoformat(os.environ["BENCHMARK_NOW"])))
