"""`market-assets quickstart`, `collect` and the reading commands as a person meets them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from market_assets.columns import feature_columns
from market_assets.sources.simulator import Fault
from market_assets.store.tables import MARKET_BARS
from market_assets_tests.integration.programs import (
    NO_YAHOO,
    Done,
    Program,
    _real_time_simulator,
    program,
    quickstarted,
    yahoo,
)

if TYPE_CHECKING:
    from market_assets.sources.simulator import SimulatorServer

__all__ = ["_real_time_simulator", "program", "quickstarted", "yahoo"]
pytestmark = pytest.mark.integration


def test_quickstart_on_a_named_server_shows_the_features_and_what_to_do_next(quickstarted: tuple[Path, Done]) -> None:
    directory, done = quickstarted
    assert done.status == 0
    assert [line.split()[0] for line in done.out.splitlines() if line.startswith("ml_")] == list(feature_columns())
    assert "source: simulator." in done.out
    assert "Collected 19 of 19 tickers" in done.out
    assert f"Database: {directory / 'simulated.db'}" in done.out
    # no terminal: the log says what the bar would
    assert " INFO market_assets.collection.session: collecting " in done.err
    assert "19 tickers, 57 requests" in done.err
    assert "WARNING" not in done.err


def test_nothing_is_written_outside_of_the_working_directory(quickstarted: tuple[Path, Done]) -> None:
    directory, _ = quickstarted
    assert sorted(one.name for one in directory.iterdir()) == [".dagster", "home", "simulated.db"]
    assert list((directory / "home").rglob("*")) == []


def test_where_yahoo_cannot_be_reached_the_simulator_stands_in_and_the_second_run_is_quick(
    quickstarted: tuple[Path, Done], tmp_path: Path
) -> None:
    prepared, _ = quickstarted
    here = Program(tmp_path, **NO_YAHOO)
    here.database.write_bytes((prepared / "simulated.db").read_bytes())
    done = here.run("quickstart", DATABASE_URL="sqlite:///mine.db")
    assert done.status == 0, done.err
    assert done.err.splitlines()[0] == "Yahoo cannot be reached (no connection): simulating it into simulated.db."
    # twenty seconds are allowed, on a machine that has nothing else to do
    assert done.cpu < 20
    assert not (tmp_path / "mine.db").exists()
    with here.store() as store:
        assert set(store.read(MARKET_BARS, columns=["source"])["source"]) == {"simulator"}


def test_a_simulator_that_answers_nothing_ends_quickstart_with_the_reason(
    yahoo: SimulatorServer, tmp_path: Path
) -> None:
    yahoo.faults.add(Fault(kind="empty"))
    done = Program(tmp_path, YAHOO_BASE_URL=yahoo.url).run("quickstart")
    assert done.status == 1
    assert done.out == ""
    said = done.err.splitlines()
    assert any(
        line.startswith("Failed. none of 19 tickers could be fetched from simulator (19 x empty)") for line in said
    )


def test_past_days_are_loaded_and_read_back(program: Program) -> None:
    done = program.run("collect", "--start", "2020-04-29", "--end", "2020-04-30")
    assert done.status == 0, done.err
    assert "for 2020-04-29 to 2020-04-30 from simulator: 96 feature rows" in done.out
    read = program.run("features", "--start", "2020-04-29", "--end", "2020-04-30", "-f", "json", "--only", "uso_price")
    rows = read.json()
    assert len(rows) == 48
    assert {row["origin"] for row in rows} == {"backfill"}
    # only daily bars: a price exists while the venue is closed; 1:8 from the New York midnight of 29 April on
    before, after = rows[0]["ml_uso_price"], rows[10]["ml_uso_price"]
    assert after == pytest.approx(8 * before, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "width"),
    [(["features"], 80), (["status"], 80), (["features", "--start", "2020-01-01"], 80), (["status"], 120)],
)
def test_on_a_terminal_everything_fits_its_width(
    quickstarted: tuple[Path, Done], arguments: list[str], width: int
) -> None:
    directory, _ = quickstarted
    screen = on_a_terminal(directory, arguments, width)
    assert "ml_" in screen or "Healthy" in screen
    assert max(len(line) for line in screen.splitlines()) <= width


def on_a_terminal(directory: Path, arguments: list[str], width: int) -> str:
    """Return what a command prints to a terminal of `width` columns, without colours and boldness."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(directory / "home"),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "YAHOO_BASE_URL": "http://127.0.0.1:1",
    }
    script = Path(sys.executable).with_name("market-assets")
    process = subprocess.Popen(
        [str(script), *arguments], cwd=directory, env=environment, stdin=child, stdout=child, stderr=child
    )
    os.close(child)
    shown = b""
    try:
        while chunk := os.read(parent, 65536):
            shown += chunk
    except OSError:
        pass  # Linux says so when the other side is closed
    finally:
        os.close(parent)
        process.wait(30)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode().replace("\r", ""))
