"""Commands that only read are quick because of what they do not import."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from market_assets_tests.integration.programs import Program, _real_time_simulator, program, quickstarted, yahoo

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["_real_time_simulator", "program", "quickstarted", "yahoo"]
pytestmark = pytest.mark.integration

#: what a collection needs, what other databases need, and what serves the simulator
_COLLECTING = ("dagster", "yfinance", "curl_cffi", "exchange_calendars", "alembic", "apprise")
_HEAVY = (*_COLLECTING, "psycopg", "pymysql", "uvicorn", "starlette")
_CODE = """
import sys
sys.argv = {arguments!r}
from market_assets.cli import main
try:
    main()
except SystemExit as done:
    assert not done.code, done.code
print([name for name in {names!r} if name in sys.modules])
"""


def imported(program: Program, arguments: Sequence[str], names: Sequence[str]) -> str:
    """Return which of `names` a command imports."""
    code = _CODE.format(arguments=["market-assets", *arguments], names=list(names))
    return program.python(code).splitlines()[-1]


@pytest.mark.parametrize(
    "arguments", [["features"], ["features", "--start", "2020-01-01", "-f", "csv"], ["status"], ["status", "--json"]]
)
def test_reading_imports_neither_dagster_nor_the_source_nor_calendars(program: Program, arguments: list[str]) -> None:
    assert imported(program, arguments, _HEAVY) == "[]"


def test_help_imports_no_library_for_data_at_all(program: Program) -> None:
    assert imported(program, ["--help"], [*_HEAVY, "pandas", "numpy", "sqlalchemy", "pydantic"]) == "[]"


def test_every_module_can_be_the_first_that_is_imported(program: Program) -> None:
    code = """
import importlib, pkgutil, sys
import market_assets
names = sorted(one.name for one in pkgutil.walk_packages(market_assets.__path__, "market_assets."))
for name in names:
    if name.startswith("market_assets.store.migrations"):
        continue  # Alembic imports them
    for own in [own for own in sys.modules if own.split(".")[0] == "market_assets"]:
        del sys.modules[own]
    importlib.import_module(name)
print(len(names))
"""
    assert int(program.python(code).splitlines()[-1]) > 100
