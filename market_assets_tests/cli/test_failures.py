"""What goes wrong is one plain sentence on standard error, without secrets and without tracebacks."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from market_assets.errors import SchemaOutdatedError, SourceMismatchError
from market_assets.opening import open_store, require_source
from market_assets.settings import Settings
from market_assets.store import Store
from market_assets.store.revision import VERSION_TABLE

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets_tests.cli.conftest import Run

NOBODY = "postgresql://joe:hunter2@127.0.0.1:1/market"


@pytest.mark.parametrize("command", ["features", "status", "collect", "migrate"])
def test_an_unreachable_database_is_named_without_its_password(run: Run, command: str) -> None:
    done = run(command, DATABASE_URL=NOBODY)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("Failed. cannot read postgresql+psycopg://joe:***@127.0.0.1:1/market: ")
    assert "market-assets doctor looks at each part" in done.err
    assert "hunter2" not in done.err
    assert len(done.err.splitlines()) == 2


def test_the_mysql_settings_are_used_and_their_host_is_named(run: Run) -> None:
    parts = {"HOST": "127.0.0.1", "PORT": "1", "DATABASE": "market", "USER": "joe", "PASSWORD": "hunter2"}
    done = run("status", **{f"MYSQL_{name}": value for name, value in parts.items()})
    assert done.status == 1
    assert "mysql+pymysql://joe:***@127.0.0.1:1/market" in done.err
    assert "hunter2" not in done.err


@pytest.mark.parametrize("url", ["sqlite:////nonexistent/market.db", "sqlite:////dev/null/market.db"])
def test_a_directory_that_cannot_be_used_is_named(run: Run, url: str) -> None:
    done = run("collect", DATABASE_URL=url)
    assert done.status == 1
    assert f"{url.removeprefix('sqlite://')}: OperationalError: unable to open database file" in done.err


def test_a_file_that_is_no_database_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "market.db").write_text("Dear diary, this is not a database at all, nor will it ever be one.")
    done = run("features")
    assert done.status == 1
    assert "file is not a database" in done.err


def test_bad_settings_are_named_all_at_once(run: Run) -> None:
    done = run("features", LOG_LEVEL="loud", SETTLE_DAYS="0")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("Bad settings. ")
    assert "LOG_LEVEL=loud" in done.err
    assert "SETTLE_DAYS=0" in done.err


def test_a_relative_dagster_home_is_refused_with_the_absolute_one(run: Run, tmp_path: Path) -> None:
    done = run("collect", DAGSTER_HOME="here", YAHOO_BASE_URL="http://127.0.0.1:1")
    assert done.status == 2
    assert f"DAGSTER_HOME=here: must be an absolute path, such as {tmp_path / 'here'}" in done.err


def test_a_dagster_home_that_cannot_be_written_is_named(run: Run) -> None:
    done = run("collect", DAGSTER_HOME="/dev/null/home", YAHOO_BASE_URL="http://127.0.0.1:1")
    assert done.status == 2
    assert "DAGSTER_HOME=/dev/null/home: cannot be written" in done.err


def test_a_schema_of_another_release_names_the_command_or_the_upgrade(
    run: Run, stocked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.connect(f"sqlite:///{stocked}")
    version = sa.table(VERSION_TABLE, sa.column("version_num"))
    store.database.write(lambda connection: connection.execute(sa.update(version).values(version_num="9999")))
    store.close()
    done = run("features")
    assert done.status == 1
    assert "a newer release has migrated it; upgrade this one" in done.err
    # an embedded database migrates itself, so a server's is played
    monkeypatch.setattr(Settings, "is_embedded", property(lambda _self: False))
    with pytest.raises(SchemaOutdatedError):
        open_store(Settings.load())


def test_a_server_that_was_never_migrated_names_the_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "is_embedded", property(lambda _self: False))
    done = run("collect")
    assert done.status == 1
    assert "has no tables yet: run `market-assets migrate`" in done.err


def test_rows_of_two_sources_never_enter_one_database(run: Run, stocked: Path) -> None:
    done = run("collect", YAHOO_BASE_URL="http://127.0.0.1:1", DATABASE_URL=f"sqlite:///{stocked}")
    assert done.status == 1
    assert done.err == (
        f"Failed. sqlite+pysqlite:///{stocked} holds rows of the source yahoo, and new ones would be of simulator; "
        "real and simulated rows never mix: name another database in DATABASE_URL, or unset YAHOO_BASE_URL\n"
    )


def test_real_rows_never_enter_a_simulated_database(stocked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.connect(f"sqlite:///{stocked}")
    monkeypatch.setattr(store, "source", lambda: "simulator")
    with pytest.raises(SourceMismatchError, match=r"new ones would be of yahoo.*or set YAHOO_BASE_URL to a sim"):
        require_source(store, Settings.load())
    store.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--start", "2030-01-01"], "--start: 2030-01-01 lies in the future; today is 2026-03-02 (UTC)"),
        (["--start", "2026-01-01", "--end", "2030-01-01"], "--end: 2030-01-01 lies in the future"),
        (
            ["--start", "2026-02-02", "--end", "2026-02-01"],
            "--start: 2026-02-02 lies after --end 2026-02-01; swap",
        ),
        (["--start", "2016-12-31"], "--start: 2016-12-31 lies before COLLECTION_START_DATE, 2017-01-01"),
        (["--end", "2026-01-01"], "--end: it needs --start"),
        (["--start", "2026-01-32"], "'2026-01-32' is not a day; write it as YYYY-MM-DD"),
    ],
)
def test_days_that_cannot_be_collected_are_refused(run: Run, tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run("collect", *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in " ".join(done.err.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_a_start_date_in_the_future_is_refused(run: Run) -> None:
    done = run("collect", COLLECTION_START_DATE="2027-01-01")
    assert done.status == 2
    assert "COLLECTION_START_DATE=2027-01-01: lies in the future" in done.err


def test_a_port_that_is_taken_is_named(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("simulate", "--port", str(port))
    assert done.status == 1
    assert done.err.startswith(f"Failed. cannot listen on 127.0.0.1:{port}: Address already in use")
    assert "choose another --port" in done.err


def test_a_simulated_clock_outside_of_the_market_is_refused(run: Run) -> None:
    done = run("simulate", "--now", "1999-12-31")
    assert done.status == 2
    assert "the simulated market runs from 2016-01-04 to 2040-12-31" in " ".join(done.err.replace("│", " ").split())


def test_a_broken_dagster_yaml_is_named(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("event_log_storage: {module: nowhere, class: Nothing, config: {}}")
    done = run("collect", DAGSTER_HOME=str(home), YAHOO_BASE_URL="http://127.0.0.1:1")
    assert done.status == 2
    assert f"DAGSTER_HOME={home}: Dagster cannot use it; correct {home / 'dagster.yaml'}" in done.err
    assert len(done.err.splitlines()) == 1
