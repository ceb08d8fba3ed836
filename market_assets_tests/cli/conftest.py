"""Fixtures of the command line's unit tests: commands run in this process, at a fixed time, in an empty directory."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from market_assets import cli
from market_assets.cli import console, interrupts
from market_assets.clock import SystemClock
from market_assets.settings import Settings
from market_assets_tests.stocked import NOW, stock

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Done:
    """What a command did."""

    status: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture(autouse=True)
def _quiet_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in (*Settings.model_fields, "dagster_home", "columns", "force_color", "no_color"):
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SystemClock, "now", lambda _self: NOW)
    monkeypatch.setattr(interrupts._State, "arrived", False)
    for stream in (console.output, console.errors):
        # as where nothing is a terminal and COLUMNS is not set
        monkeypatch.setattr(stream, "width", 200)
    yield
    logger = logging.getLogger("market_assets")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `market-assets <arguments>` in this process, with further environment variables."""

    def call(*arguments: str, **environment: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["market-assets", *arguments])
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        status = cli._run()
        done = capsys.readouterr()
        assert "Traceback" not in done.err
        return Done(status, done.out, done.err)

    return call


@pytest.fixture(scope="session")
def stocked_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of `stocked.stock`."""
    path = tmp_path_factory.mktemp("stocked") / "market.db"
    stock(path)
    return path


@pytest.fixture
def stocked(stocked_file: Path, tmp_path: Path) -> Path:
    """A copy of the stocked database, where the commands look for it."""
    path = tmp_path / "market.db"
    path.write_bytes(stocked_file.read_bytes())
    return path
