"""Fixtures shared by all tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from market_assets_tests.feature_log import FeatureLog

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Real market data and recorded answers, read where they are; absent on most machines."""
    if not (SHARED / "market").is_dir():
        pytest.skip(f"no real market data at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def story_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of `feature_log.tell_story`, to copy."""
    from market_assets_tests.feature_log import tell_story  # noqa: PLC0415 - most tests need none of it

    path = tmp_path_factory.mktemp("story") / "market.db"
    tell_story(path).store.close()
    return path


@pytest.fixture(scope="session")
def story(story_file: Path) -> Iterator[FeatureLog]:
    """The story, for reading."""
    from market_assets_tests.feature_log import STORY, FeatureLog  # noqa: PLC0415

    log = FeatureLog.opened(story_file, STORY)
    yield log
    log.store.close()


@pytest.fixture
def own_story(story_file: Path, tmp_path: Path) -> Iterator[FeatureLog]:
    """A copy of the story, to tamper with."""
    from market_assets_tests.feature_log import STORY, FeatureLog  # noqa: PLC0415

    path = tmp_path / "market.db"
    shutil.copy(story_file, path)
    log = FeatureLog.opened(path, STORY)
    yield log
    log.store.close()
