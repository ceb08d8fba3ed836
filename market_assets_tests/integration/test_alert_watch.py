"""A daemon that is killed, and the watch that tells of it; the watch as a program of its own."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from market_assets.alerts.evaluations import ALERT_PATH
from market_assets.store import Decision
from market_assets.store.tables import COLLECTIONS
from market_assets_tests.alerts.receivers import webhook
from market_assets_tests.integration.programs import (
    Program,
    _real_time_simulator,
    program,
    quickstarted,
    wait_until,
    yahoo,
)
from market_assets_tests.integration.test_dagster_ui import dagster_dev

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from market_assets.store import AlertKey, AlertState, Store

__all__ = ["_real_time_simulator", "program", "quickstarted", "yahoo"]
pytestmark = pytest.mark.integration

MISSED = "Market collector: ERROR missed_ticks broke: collect"


def let_time_pass(store: Store, hours: float) -> None:
    """Let every collection have happened so much earlier."""
    table = store.schema.plain(COLLECTIONS)
    with store.database.engine.begin() as connection:
        for run_id, started_at in connection.execute(sa.select(table.columns.run_id, table.columns.started_at)).all():
            earlier = {"started_at": started_at - timedelta(hours=hours)}
            connection.execute(sa.update(table).where(table.columns.run_id == run_id).values(**earlier))


def end_every_rest(store: Store) -> None:
    """Let every target have been tried a minute earlier: as long as it rests after one failure."""

    def earlier(states: Mapping[AlertKey, AlertState], _waiting: object) -> Decision:
        rested = [state for state in states.values() if state.check == ALERT_PATH]
        return Decision(
            states=[replace(state, evaluated_at=state.evaluated_at - timedelta(minutes=1)) for state in rested]
        )

    store.alerts.decide(earlier)


def test_the_daemon_is_killed_and_the_alert_still_arrives(program: Program, tmp_path: Path) -> None:
    home = tmp_path / "dagster"
    home.mkdir()
    with webhook() as hook, program.store() as store:
        environment = {
            "DATABASE_URL": f"sqlite:///{program.database}",
            "YAHOO_BASE_URL": program.environment["YAHOO_BASE_URL"],
            "YFINANCE_REQUEST_DELAY": "0",
            "ALERT_URLS": f"json://user:hunter2@127.0.0.1:{hook.port}/tok3n",
        }
        with dagster_dev(home, environment) as dagster:
            # the daemon runs the sensors by itself, and they find nothing to tell
            wait_until(lambda: store.alerts.looked_at() is not None, "a sensor looks", seconds=120)
            os.killpg(dagster.process.pid, signal.SIGKILL)
            dagster.process.wait(30)
        logged = (home / "dev.log").read_text()
        assert "hunter2" not in logged
        assert "tok3n" not in logged
        assert hook.titles == []
        let_time_pass(store, 3)
        alerts = environment["ALERT_URLS"]
        done = program.run("watch", "--once", ALERT_URLS=alerts)
        assert (done.status, hook.titles) == (0, [MISSED]), done.err
        assert "no collection begins: is the scheduler running?" in hook.posts[0]["message"]
        assert program.run("watch", "--once", ALERT_URLS=alerts).status == 0
        assert hook.titles == [MISSED]
        state = program.run("status", ALERT_URLS=alerts)
        assert state.status == 1
        assert "ticks were missed: none has succeeded since" in state.out
        assert "Open: missed_ticks collect: no tick has succeeded since" in state.out
        # whoever collects, it is over
        assert program.run("collect").status == 0
        program.run("watch", "--once", ALERT_URLS=alerts)
        assert hook.titles == [MISSED, "Market collector: OK missed_ticks recovered: collect"]
        for shown in (done.out, done.err, state.out, state.err):
            assert "hunter2" not in shown
            assert "tok3n" not in shown


def test_two_watches_post_once_make_up_for_a_failed_post_and_end_when_they_are_told_to(program: Program) -> None:
    with webhook() as hook, program.store() as store:
        let_time_pass(store, 3)
        hook.status = 500
        urls = {"ALERT_URLS": f"json://127.0.0.1:{hook.port}/"}
        with (
            program.started("watch", "--interval", "1", **urls) as one,
            program.started("watch", "--interval", "1", **urls) as other,
        ):
            wait_until(lambda: any(message.attempts for message in store.alerts.waiting()), "a post fails", seconds=60)
            hook.status = 200
            end_every_rest(store)
            wait_until(lambda: hook.titles, "it is posted after all", seconds=60)
            time.sleep(2.5)
            assert hook.titles == [MISSED]
            assert store.alerts.waiting() == []
            one.send_signal(signal.SIGTERM)
            other.send_signal(signal.SIGINT)
            for process in (one, other):
                out, err = process.communicate(timeout=20)
                assert process.returncode == 0, err
                assert out == "Watching every 1 s; Ctrl-C stops it.\n"
                assert err.endswith("The watch has stopped.\n")
                assert "Traceback" not in err
