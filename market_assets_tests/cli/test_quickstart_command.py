"""`market-assets quickstart`: the choice between Yahoo and the simulator, and what it says at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from market_assets.cli import quickstart
from market_assets.run import RunOutcome
from market_assets.sources.yahoo import Reachability, YahooSource
from market_assets.store import CollectionRecord
from market_assets_tests.stocked import NOW

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets.settings import Settings
    from market_assets_tests.cli.conftest import Run

_SUMMARY = {
    "first_day": "2026-03-02",
    "last_day": "2026-03-02",
    "tickers": 19,
    "stored": ["QQQ"] * 18,
    "failed": {"TLT": "timeout: TLT 1d: no answer"},
    "features": {"rows": 31, "feature_count": 57},
}


@pytest.fixture
def collected_with(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Collecting does nothing but note its settings."""
    used: list[Settings] = []

    def collect(settings: Settings, *_arguments: Any, **_options: Any) -> RunOutcome:
        used.append(settings)
        record = CollectionRecord("run", "quickstart", settings.source_label, NOW, NOW, "partial", _SUMMARY)
        return RunOutcome("run", succeeded=True, record=record)

    monkeypatch.setattr(quickstart, "collect_with_progress", collect)
    return used


def probe(monkeypatch: pytest.MonkeyPatch, code: str | None) -> None:
    answer = Reachability(ok=code is None, detail="details of the failure", seconds=0.1, code=code)
    monkeypatch.setattr(YahooSource, "probe", lambda *_a, **_k: answer)


@pytest.mark.usefixtures("stocked")
def test_where_yahoo_answers_it_is_used(
    run: Run, monkeypatch: pytest.MonkeyPatch, collected_with: list[Settings]
) -> None:
    probe(monkeypatch, None)
    done = run("quickstart")
    assert [one.yahoo_base_url for one in collected_with] == [None]
    assert done.status == 0
    assert "simulat" not in done.out + done.err


@pytest.mark.parametrize("code", ["unavailable", "timeout", "rate_limited", "auth", "empty", "malformed"])
def test_an_unreachable_yahoo_is_said_in_one_plain_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, collected_with: list[Settings], code: str
) -> None:
    probe(monkeypatch, code)
    done = run("quickstart", DATABASE_URL="postgresql://joe:hunter2@127.0.0.1:1/market")
    # the configured database is left alone
    assert [str(one.sqlalchemy_url) for one in collected_with] == ["sqlite:///simulated.db"]
    first = done.err.splitlines()[0]
    assert first.startswith("Yahoo cannot be reached (")
    assert first.endswith("): simulating it into simulated.db.")
    assert len(first) <= 80
    assert "details of the failure" not in done.err


@pytest.mark.parametrize("code", ["unavailable", "timeout"])
def test_a_server_that_was_named_is_never_replaced_by_the_simulator(
    run: Run, monkeypatch: pytest.MonkeyPatch, collected_with: list[Settings], code: str
) -> None:
    probe(monkeypatch, code)
    done = run("quickstart", YAHOO_BASE_URL="http://127.0.0.1:1")
    assert done.status == 1
    assert "YAHOO_BASE_URL=http://127.0.0.1:1 does not answer" in done.err
    assert "start that server (market-assets simulate), or unset YAHOO_BASE_URL" in done.err
    assert collected_with == []


@pytest.mark.usefixtures("collected_with")
def test_a_collection_without_a_row_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    probe(monkeypatch, "unavailable")
    assert run("quickstart").status == 1


@pytest.mark.usefixtures("collected_with")
def test_the_end_names_the_count_the_source_the_database_and_what_to_do_next(
    run: Run, monkeypatch: pytest.MonkeyPatch, stocked: Path
) -> None:
    probe(monkeypatch, None)
    done = run("quickstart")
    for said in (
        "57 of 58 features are known and fresh (42 of 43 core); target 35: met.",
        "source: yahoo.",
        "Collected 18 of 19 tickers for 2026-03-02 from yahoo: 31 feature rows, the latest with 57 features.",
        f"Database: {stocked}",
        "    market-assets features --start 2026-03-02 --out features.csv",
        "    market-assets status",
        "Collect every 30 minutes while the UI runs on http://127.0.0.1:3000:\n    make ui",
        "    export DATABASE_URL=postgresql+psycopg://user:password@host/database\n    market-assets migrate",
    ):
        assert said in done.out
    assert done.out.count("\nml_") == 58
    assert "Not collected: TLT (timeout). What needs them is NULL" in done.err


@pytest.mark.usefixtures("collected_with")
def test_after_simulated_rows_the_way_to_real_ones_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, stocked: Path
) -> None:
    probe(monkeypatch, "unavailable")
    stocked.rename(stocked.with_name("simulated.db"))
    out = run("quickstart").out
    assert "    market-assets simulate\n    export YAHOO_BASE_URL=http://127.0.0.1:8765\n" in out
    assert "    unset YAHOO_BASE_URL\n    make run\n" in out
