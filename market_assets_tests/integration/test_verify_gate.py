"""The look-ahead gate at full length: a thousand random markets, and mistakes that it has to catch."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import market_assets
from market_assets_tests.verify.gates import violations_of
from market_assets_tests.verify.markets import CATEGORIES, make_case
from market_assets_tests.verify.mutants import MUTANTS, STORE_MUTANTS
from market_assets_tests.verify.mutation import CAUGHT, PASSED, mutated, run_gate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from market_assets_tests.verify.mutants import Mutant

pytestmark = pytest.mark.integration

CASES = 1000
AT_LEAST = 50


def judge(seeds: Sequence[int]) -> tuple[Counter[str], list[str]]:
    counts: Counter[str] = Counter()
    found: list[str] = []
    for seed in seeds:
        case = make_case(seed, CATEGORIES[seed % len(CATEGORIES)])
        counts.update(case.categories)
        found += violations_of(case)
    return counts, found


def test_a_thousand_random_rows_do_not_move_with_the_future(capsys: pytest.CaptureFixture[str]) -> None:
    chunks = [range(start, min(start + 25, CASES)) for start in range(0, CASES, 25)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(judge, chunks))
    counts = sum((counted for counted, _ in results), Counter[str]())
    with capsys.disabled():
        print(f"\n{CASES} random cases: {', '.join(f'{counts[name]} {name}' for name in CATEGORIES)}")  # noqa: T201
    assert [one for _, found in results for one in found] == []
    # plain: none of the others
    assert {name for name in CATEGORIES if counts[name] < AT_LEAST} <= {"plain"}


@pytest.mark.parametrize(
    ("gate", "mutant"),
    [("pure", one) for one in MUTANTS] + [("store", one) for one in STORE_MUTANTS],
    ids=lambda value: value if isinstance(value, str) else value.name.replace(" ", "_"),
)
def test_the_gate_catches(gate: str, mutant: Mutant, tmp_path: Path) -> None:
    caught = run_gate(mutated(mutant, tmp_path), gate, mutant.categories)
    assert caught.returncode == CAUGHT, caught.stdout + caught.stderr
    # ... and nothing where nothing is wrong.
    passed = run_gate(Path(market_assets.__file__).parents[1], gate, mutant.categories[:2], cases=1)
    assert passed.returncode == PASSED, passed.stdout + passed.stderr
