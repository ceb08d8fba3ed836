"""How long a year of feature rows takes: 17,568 observation times x 58 columns, reasons and ages included.

    python benchmarks/feature_year.py

Measured on two shared cores: 0.4 CPU seconds for the numbers, 0.5 for the texts.
"""

from __future__ import annotations

import time

from market_assets.calendars import observation_grid, venue_calendar
from market_assets.features import compute_feature_rows
from market_assets.universe import UNIVERSE
from market_assets_tests.market_frames import log, us, walk

START, END, QUARTERS_FROM = "2024-01-01", "2025-01-01", "2024-11-01"


def main() -> None:
    """Measure, and print."""
    for ticker in UNIVERSE:
        venue_calendar(ticker.venue)  # built once per process, not part of the measurement
    logs = {
        ticker.name: log(
            ticker.name,
            walk(ticker.name, "1d", "2023-10-01", END, scale=0.01),
            walk(ticker.name, "1h", "2023-10-01", END),
            walk(ticker.name, "15m", QUARTERS_FROM, END),
        )
        for ticker in UNIVERSE.features
    }
    at_us = observation_grid(us(START), us(END), 30)
    started = time.process_time()
    rows = compute_feature_rows(logs, at_us)
    computed = time.process_time()
    frame = rows.to_frame()
    finished = time.process_time()
    bars = sum(len(one.bars) for one in logs.values())
    print(f"{bars} bars, {len(at_us)} observation times, {len(frame.columns)} columns")
    print(f"numbers {computed - started:.2f} CPU s, texts {finished - computed:.2f} CPU s")


if __name__ == "__main__":
    main()
