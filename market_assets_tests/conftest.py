"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Real market data and recorded answers, read where they are; absent on most machines."""
    if not (SHARED / "market").is_dir():
        pytest.skip(f"no real market data at {SHARED}")
    return SHARED
