"""`market-assets doctor`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets.sources.yahoo import Reachability, YahooSource
from market_assets.store import Store
from market_assets_tests.cli.conftest import NOW

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets_tests.cli.conftest import Run


@pytest.fixture(autouse=True)
def answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Yahoo answers."""
    monkeypatch.setattr(YahooSource, "probe", lambda *_a, **_k: Reachability(ok=True, detail="7 bars", seconds=0.2))


def findings(out: str) -> dict[str, str]:
    """Return each check's mark by name."""
    return {line.split()[1]: line.split()[0] for line in out.splitlines() if line.startswith(("ok", "FAIL"))}


CHECKS = ["settings", "database", "schema", "rows", "clock", "alerts", "dagster", "cache", "source"]


def test_a_sound_installation_passes_every_check(run: Run, stocked: Path) -> None:
    done = run("doctor")
    assert findings(done.out) == dict.fromkeys(CHECKS, "ok")
    assert str(stocked) in done.out
    assert done.out.endswith("Everything holds.\n")
    assert done.status == 0


def test_without_a_database_doctor_makes_none(run: Run, tmp_path: Path) -> None:
    done = run("doctor")
    assert done.status == 0
    assert f"{tmp_path / 'market.db'} is not there yet; the first collection makes it" in done.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("stocked")
def test_a_clock_that_is_off_is_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "now", lambda _self: NOW + timedelta(seconds=6))
    done = run("doctor")
    assert findings(done.out)["clock"] == "FAIL"
    assert "follow a time server" in done.out
    assert done.status == 1


@pytest.mark.parametrize(
    ("environment", "check", "remedy"),
    [
        ({"LOG_LEVEL": "loud"}, "settings", "Correct the environment variable"),
        ({"DATABASE_URL": "postgresql://joe:hunter2@127.0.0.1:1/m"}, "database", "the server, its firewall, user and"),
        ({"DATABASE_URL": "sqlite:////nonexistent/m.db"}, "database", "Make the directory"),
        ({"DAGSTER_HOME": "here"}, "dagster", "Make it absolute: export DAGSTER_HOME=/"),
        ({"DAGSTER_HOME": "/dev/null/x"}, "dagster", "Make the directory, or give this user the right"),
    ],
)
def test_each_failure_comes_with_its_remedy(run: Run, environment: dict[str, str], check: str, remedy: str) -> None:
    done = run("doctor", **environment)
    assert findings(done.out)[check] == "FAIL"
    assert remedy in done.out
    assert "1 of the checks failed." in done.out
    assert "hunter2" not in done.out + done.err
    assert done.status == 1


def test_an_empty_schema_names_the_command(run: Run, tmp_path: Path) -> None:
    (tmp_path / "market.db").touch()
    done = run("doctor")
    assert findings(done.out)["schema"] == "FAIL"
    assert "Run: market-assets migrate" in done.out


@pytest.mark.usefixtures("stocked")
def test_rows_of_another_source_are_found(run: Run) -> None:
    done = run("doctor", YAHOO_BASE_URL="http://127.0.0.1:1", DATABASE_URL="sqlite:///market.db")
    assert findings(done.out)["rows"] == "FAIL"
    assert "a collection into it would be refused" in done.out


def test_a_source_that_does_not_answer_is_told_plainly(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = Reachability(
        ok=False, detail="QQQ 1d 2026-02-20T00:00:00Z..2026-03-02T00:00:00Z: gone", seconds=1, code="timeout"
    )
    monkeypatch.setattr(YahooSource, "probe", lambda *_a, **_k: silent)
    done = run("doctor")
    assert "FAIL source    Yahoo cannot be used: timeout in 1.0 s: gone\n" in done.out
    assert "To work without Yahoo: market-assets simulate" in done.out
    assert "Unset YAHOO_BASE_URL to use Yahoo itself." in run("doctor", YAHOO_BASE_URL="http://127.0.0.1:1").out


def test_an_entry_of_alert_urls_that_apprise_cannot_use_is_named_and_not_shown(run: Run) -> None:
    done = run("doctor", ALERT_URLS="json://localhost/ slack://hunter2")
    assert findings(done.out)["alerts"] == "FAIL"
    assert "of ALERT_URLS Apprise cannot use slack (the values are not shown)" in done.out
    assert "hunter2" not in done.out + done.err
    assert (
        "to json, json#2; market-assets alerts test tries them" in run("doctor", ALERT_URLS="json://a/ json://b/").out
    )
