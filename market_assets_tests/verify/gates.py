"""The gate as tests run it: one seed and category in, violations out.

Belongs here: the gate on made-up markets. Does not belong here: assertions.
"""

from __future__ import annotations

import numpy as np

from market_assets.verify.observe import Observer
from market_assets.verify.poison import Gate
from market_assets_tests.verify.markets import Case, make_case


def violations(seed: int, category: str) -> list[str]:
    """Return what is wrong with the row of a made-up case; nothing if it is as it must be."""
    return violations_of(make_case(seed, category))


def violations_of(case: Case) -> list[str]:
    """Return what the row saw too early, and what it saw too late."""
    gate = Gate(Observer(case.universe, case.indicators))
    found = [
        str(leak) for leak in gate.leaks(case.history, case.at_us, case.as_of_us, np.random.default_rng(case.seed))
    ]
    tickers = tuple(case.history.tickers.values())
    if case.seed % 2 == 0:
        chosen = tickers[case.seed // 2 % len(tickers)]
        found += [f"{column} overlooks a bar" for column in gate.overlooked(chosen, case.at_us, case.as_of_us)]
    return [f"{case}: {one}" for one in found]
