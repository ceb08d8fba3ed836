"""The help of every command, and what does not exist."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from market_assets.cli.app import app

if TYPE_CHECKING:
    from market_assets_tests.cli.conftest import Run

COMMANDS = [
    "quickstart", "collect", "features", "correlations", "status", "doctor", "watch", "purge", "migrate", "simulate",
]  # fmt: skip


def test_the_help_names_every_command_and_the_exit_status(run: Run) -> None:
    done = run("--help")
    assert done.status == 0
    for command in COMMANDS:
        assert f" {command} " in done.out
    assert "130 interrupted" in " ".join(done.out.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_says_what_it_does_and_fits_eighty_columns(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = run(command, "--help")
    assert done.status == 0
    assert done.err == ""
    assert max(len(line) for line in done.out.splitlines()) <= 80
    registered = next(one for one in app.registered_commands if one.callback and one.callback.__name__ == command)
    first = str(registered.help).partition("\n")[0]
    assert first in done.out
    assert first.endswith(".")


def test_no_command_is_the_help(run: Run) -> None:
    done = run()
    assert "Usage: market-assets" in done.out + done.err


def test_unknown_commands_and_options_are_bad_usage(run: Run) -> None:
    for arguments in (["frobnicate"], ["status", "--loud"], ["collect", "today"], ["simulate", "--port", "99999"]):
        done = run(*arguments)
        assert (done.status, done.out) == (2, "")
        assert "Usage: market-assets" in done.err


def test_the_version_is_the_packages(run: Run) -> None:
    assert run("--version").out == f"market-assets {version('market-assets')}\n"
