"""`python -m market_assets_tests.torture`: the kills and the crossings of the test, many times over, with a record.

Belongs here: counting and telling. Does not belong here: what is asserted (`kills.py`, `crossings.py`).
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from market_assets_tests.databases import MARIADB, POSTGRESQL, SQLITE
from market_assets_tests.torture.crossings import Crossed, Story, cross
from market_assets_tests.torture.kills import Killed, draw, kill
from market_assets_tests.torture.stage import DAGSTER, FIRST, NIGHT, SCENES, Stage

#: of twenty moments, how many each scene gets: a run of Dagster takes three times as long as the others
_SHARES = {FIRST: 5, NIGHT: 11, DAGSTER: 4}
_KINDS = (SQLITE, POSTGRESQL, MARIADB)


class Record:
    """What happened, for people as it happens and as JSON at the end."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Begin a record of a run with these arguments."""
        self.began = datetime.now(UTC)
        self._arguments = vars(arguments)
        self.versions: dict[str, str] = {"python": platform.python_version()}
        self.kills: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.crossings: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.failures: list[str] = []
        self.skipped: dict[str, str] = {}

    def killed(self, kind: str, scene: str, number: int, done: Killed) -> None:
        """Add a kill."""
        self.kills[kind].append({"scene": scene, **asdict(done), "moment": str(done.moment)})
        held = ", lock in hand" if done.held_the_lock else ""
        _say(
            f"{kind} {scene} {number}: killed {done.moment}; {done.commits} of {done.of} commits{held}; "
            f"{done.glances} looks saw {done.states_seen} states; {done.seconds:.1f} s"
        )

    def crossed(self, kind: str, number: int, done: Crossed) -> None:
        """Add a crossing."""
        self.crossings[kind].append({**asdict(done), "met": done.met.number})
        _say(
            f"{kind} {done.story.name.lower()} {number}: met at event {done.met.number}, {done.turns} turns; "
            f"the first: {done.first[:60]}; {done.glances} looks; {done.seconds:.1f} s"
        )

    def failed(self, what: str, error: AssertionError) -> None:
        """Add a failure."""
        self.failures.append(f"{what}: {error}")
        _say(f"FAILED {what}: {str(error)[:2000]}")

    def write(self, path: Path, seconds: float) -> None:
        """Write everything as JSON."""
        path.write_text(
            json.dumps(
                {
                    "began": self.began.isoformat(timespec="seconds"),
                    "seconds": round(seconds),
                    "arguments": {name: str(value) for name, value in self._arguments.items()},
                    "versions": self.versions,
                    "skipped": self.skipped,
                    "failures": self.failures,
                    "kills": self.kills,
                    "crossings": self.crossings,
                },
                indent=1,
            )
        )

    def table(self) -> str:
        """Return the counts as a Markdown table."""
        lines = [
            (
                "| database | kills | with the lock in hand | different commits they came after | looks of the reader "
                "| crossings | turns | differences |"
            ),
            "|---|---|---|---|---|---|---|---|",
        ]
        for kind in sorted(self.kills, key=_KINDS.index):
            kills, crossings = self.kills[kind], self.crossings[kind]
            lines.append(
                f"| {self.versions[kind]} | {len(kills)} | {sum(one['held_the_lock'] for one in kills)} "
                f"| {len({(one['scene'], one['commits']) for one in kills})} "
                f"| {sum(one['glances'] for one in [*kills, *crossings])} | {len(crossings)} "
                f"| {sum(one['turns'] for one in crossings)} "
                f"| {sum(what.startswith(kind) for what in self.failures)} |"
            )
        sorts = Counter(str(one["sort"]) for kills in self.kills.values() for one in kills)
        return "\n".join([*lines, "", *(f"* {count} {sort}" for sort, count in sorts.most_common())])


def main() -> int:
    """Torture every database; return 1 if anything was not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m market_assets_tests.torture", description=__doc__)
    parser.add_argument("--moments", type=int, default=50, help="kills of each database (default: 50)")
    parser.add_argument("--crossings", type=int, default=5, help="crossings of each story and database (default: 5)")
    parser.add_argument("--seed", default="torture", help="draws other moments (default: torture)")
    parser.add_argument("--databases", nargs="+", choices=_KINDS, default=_KINDS)
    parser.add_argument("--record", type=Path, default=Path("torture.json"), help="where the record goes")
    arguments = parser.parse_args()
    record = Record(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="torture-") as directory:
        stage = Stage(Path(directory))
        for kind in arguments.databases:
            try:
                _torture(stage, kind, arguments, record)
            except pytest.skip.Exception as reason:
                record.skipped[kind] = str(reason)
                _say(f"{kind} was skipped: {reason}")
        stage.close()
    seconds = time.monotonic() - began
    record.write(arguments.record, seconds)
    _say("")
    _say(record.table())
    _say(f"\n{seconds:.0f} s; seed {arguments.seed!r}; {len(record.failures)} differences; see {arguments.record}")
    return 1 if record.failures else 0


def _torture(stage: Stage, kind: str, arguments: argparse.Namespace, record: Record) -> None:
    for scene, count in _shared_out(arguments.moments):
        rehearsal = stage.rehearsal(kind, scene)
        _say(
            f"{kind} {scene.name}: {scene.what}; undisturbed it has {len(rehearsal.events)} events and "
            f"{len(rehearsal.states) - 1} commits in {rehearsal.seconds:.1f} s"
        )
        record.versions.setdefault(kind, _version(stage, kind))
        for number, (sort, moment) in enumerate(draw(rehearsal, count, f"{arguments.seed}, {kind}, {scene.name}"), 1):
            try:
                record.killed(kind, scene.name, number, kill(stage, kind, scene, sort, moment))
            except AssertionError as error:
                record.failed(f"{kind} {scene.name} {number}, killed {moment}", error)
    for story in Story:
        for number in range(1, arguments.crossings + 1):
            # The stopped run is Dagster's every other time: its IO manager and resources are of the game.
            scene = DAGSTER if story is Story.PAUSED and number % 2 == 0 else NIGHT
            try:
                done = cross(stage, kind, story, f"{arguments.seed}, {kind}, {story.name}, {number}", scene)
                record.crossed(kind, number, done)
            except AssertionError as error:
                record.failed(f"{kind} {story.name.lower()} {number}", error)


def _shared_out(moments: int) -> list[tuple[Any, int]]:
    """Return how many moments each scene gets; the night gets what is left."""
    whole = sum(_SHARES.values())
    counts = {scene: max(1, moments * _SHARES[scene] // whole) for scene in SCENES}
    counts[NIGHT] += moments - sum(counts.values())
    return list(counts.items())


def _version(stage: Stage, kind: str) -> str:
    with stage.database(kind, FIRST) as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            number = ".".join(str(part) for part in connection.dialect.server_version_info or ())
    return f"{kind} {number}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
