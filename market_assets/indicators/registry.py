"""Finds the indicators of this package.

Belongs here: discovery and look-up. Does not belong here: indicators.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

from market_assets.indicators.base import Indicator

if TYPE_CHECKING:
    from collections.abc import Iterable

_NOT_INDICATORS = frozenset({"base", "registry"})


def discover(package: str, path: Iterable[str]) -> tuple[Indicator, ...]:
    """Return the `INDICATOR` of each module of `package`, by `order`.

    Raises:
        TypeError: a module defines no `INDICATOR`.
        ValueError: two indicators share a name, a column or a position.
    """
    found = []
    for module_info in pkgutil.iter_modules(list(path)):
        if module_info.name in _NOT_INDICATORS:
            continue
        module = importlib.import_module(f"{package}.{module_info.name}")
        indicator = getattr(module, "INDICATOR", None)
        if not isinstance(indicator, Indicator):
            raise TypeError(f"{module.__name__} defines no INDICATOR; every module of {package} is one indicator")
        found.append(indicator)
    for attribute in ("name", "column", "order"):
        values = [getattr(indicator, attribute) for indicator in found]
        shared = sorted({value for value in values if values.count(value) > 1})
        if shared:
            raise ValueError(f"two indicators of {package} share {attribute}={shared[0]!r}")
    return tuple(sorted(found, key=lambda indicator: indicator.order))


#: every indicator, in the order of its columns
INDICATORS = discover(__package__, [str(Path(__file__).parent)])


def indicator_named(name: str) -> Indicator:
    """Return the indicator called `name`; raise KeyError naming the known ones."""
    for indicator in INDICATORS:
        if indicator.name == name:
            return indicator
    raise KeyError(f"unknown indicator {name!r}; known: {', '.join(indicator.name for indicator in INDICATORS)}")
