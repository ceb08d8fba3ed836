"""Take the pictures of the page that stand in README.md: `python scripts/take_screenshots.py` (needs chromium).

A simulated week is collected day by day, ending at a fixed instant; in the second picture one ticker cannot be fetched.
"""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import sync_playwright

from market_assets.clock import ManualClock
from market_assets.sources.simulator import Fault, FaultKind, SimulatorServer
from market_assets_tests.integration.test_api_browser import served
from market_assets_tests.verify.live import LiveCollector

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
NOW = datetime(2025, 11, 20, 16, 31, tzinfo=UTC)
TICKS = 3
HALF_HOUR = timedelta(minutes=30)


def main() -> None:
    """Collect, and take both pictures."""
    PICTURES.mkdir(exist_ok=True)
    clock = ManualClock(NOW - TICKS * HALF_HOUR)
    with tempfile.TemporaryDirectory() as directory, SimulatorServer(clock) as simulator:
        url = f"sqlite:///{Path(directory) / 'market.db'}"
        with LiveCollector(simulator.url, clock, url) as collector:
            today = clock.now().date()
            collector.collect(today - timedelta(days=8), today - timedelta(days=1), kind="backfill")
            for _ in range(TICKS + 1):
                collector.collect()
                clock.advance(HALF_HOUR)
            clock.set(NOW + timedelta(minutes=4))
            take(url, clock, PICTURES / "page.png")
            simulator.faults.add(Fault(kind=FaultKind.SERVER_ERROR, symbol="TLT"))
            clock.set(NOW + HALF_HOUR)
            collector.collect()
            clock.advance(timedelta(minutes=4))
            take(url, clock, PICTURES / "page-failing.png")


def take(url: str, clock: ManualClock, picture: Path) -> None:
    """Write the upper part of the page at a desk's width."""
    with served(url, clock.now()) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        page.goto(address)
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main()
