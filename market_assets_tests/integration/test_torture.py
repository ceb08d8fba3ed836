"""Collections that are killed, robbed of their lease, or met by another one: a tenth of `make torture`.

What each kill and each crossing asserts stands in `market_assets_tests/torture/kills.py` and `crossings.py`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from market_assets_tests.databases import ALL_DATABASES
from market_assets_tests.torture.crossings import Story, cross
from market_assets_tests.torture.kills import Sort, draw, kill
from market_assets_tests.torture.stage import DAGSTER, FIRST, NIGHT, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from market_assets_tests.torture.stage import Scene

pytestmark = pytest.mark.integration

#: moments of each scene: five a database, of which one in a real run
KILLS = {FIRST: 1, NIGHT: 3, DAGSTER: 1}
SEED = "on every commit"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    base = tmp_path_factory.getbasetemp()
    # pytest-xdist gives each worker a directory of its own inside of the session's
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "rehearsals"
    shared.mkdir(exist_ok=True)
    made = Stage(tmp_path_factory.mktemp("torture"), shared=shared, dagster_goes_on=False)
    yield made
    made.close()


@pytest.mark.parametrize("kind", ALL_DATABASES)
@pytest.mark.parametrize("scene", KILLS, ids=lambda scene: scene.name)
def test_a_killed_collection_leaves_whole_commits_and_the_next_tick_what_it_leaves_undisturbed(
    stage: Stage, kind: str, scene: Scene
) -> None:
    moments = draw(stage.rehearsal(kind, scene), KILLS[scene], f"{SEED}, {kind}, {scene.name}")
    killed = [kill(stage, kind, scene, sort, moment) for sort, moment in moments]
    # A reader looked while each lived, and at least one died before it had done everything.
    assert all(one.glances for one in killed)
    assert min(one.commits for one in killed) < killed[0].of


@pytest.mark.parametrize("kind", ALL_DATABASES)
@pytest.mark.parametrize("story", Story, ids=lambda story: story.name.lower())
def test_two_collections_at_once_leave_what_one_after_the_other_leaves(stage: Stage, kind: str, story: Story) -> None:
    crossed = cross(stage, kind, story, f"{SEED}, {kind}")
    assert crossed.glances
    if story in {Story.WAITING, Story.ROBBED}:
        assert crossed.turns > 1


def test_a_run_that_is_stopped_for_longer_than_its_lease_writes_nothing_over_the_next_one_when_it_wakes_up(
    stage: Stage,
) -> None:
    crossed = cross(stage, "sqlite", Story.PAUSED, f"{SEED}, with Dagster", DAGSTER)
    assert "collection lock" in crossed.first


def test_the_moments_are_of_every_sort_and_the_same_seed_draws_the_same_ones(stage: Stage) -> None:
    rehearsal = stage.rehearsal("sqlite", NIGHT)
    moments = draw(rehearsal, 50, SEED)
    assert {sort for sort, _ in moments} == set(Sort)
    assert moments == draw(rehearsal, 50, SEED)
    assert moments != draw(rehearsal, 50, "another seed")
    # spread over the run: at least ten of its commits have a death just around them
    assert len({moment.event.commits for _, moment in moments if moment.event is not None}) >= 10
