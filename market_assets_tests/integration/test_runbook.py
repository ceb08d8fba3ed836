"""The runbook: every command and query in it runs."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from market_assets_tests.integration.programs import (
    _SCRIPT,
    Program,
    _real_time_simulator,
    program,
    quickstarted,
    yahoo,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["_real_time_simulator", "program", "quickstarted", "yahoo"]
pytestmark = pytest.mark.integration

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")


def blocks(language: str) -> Iterator[str]:
    for block in re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL):
        yield from filter(None, (line.partition("#")[0].strip() for line in block.splitlines()))


def test_every_query_runs(program: Program) -> None:
    queries = list(blocks("sql"))
    assert len(queries) >= 4
    with program.store() as store, store.database.reading() as connection:
        for query in queries:
            connection.exec_driver_sql(query).fetchall()


def test_every_command_runs(program: Program) -> None:
    commands = list(dict.fromkeys(blocks("sh")))
    assert len(commands) >= 12
    path = f"{_SCRIPT.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    for command in commands:
        done = program.shell(command, PATH=path)
        # 1: something is wrong, which is what most of them are there to say
        assert done.status in {0, 1}, (command, done.err)
        assert "Usage:" not in done.err, (command, done.err)
        assert done.out + done.err, command
        if shlex.split(command)[-1] in {"collect", "migrate", "features", "lookahead", "status", "--once"}:
            assert done.status == 0, (command, done.out, done.err)
