"""A server that refuses the password: the error names the server and the user, never the password."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from market_assets.errors import StoreError
from market_assets.store import CollectionLock, Store
from market_assets_tests.databases import MARIADB, empty_database

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.mariadb]
RIGHT, WRONG = "c0rrect-h0rse", "b@ttery-st@ple"


def test_a_refused_password_is_never_shown(tmp_path: Path) -> None:
    """PostgreSQL is not asked: the private test server trusts everyone."""
    with empty_database(MARIADB, tmp_path) as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE OR REPLACE USER collector IDENTIFIED BY '{RIGHT}'")
            connection.exec_driver_sql(f"GRANT ALL ON {make_url(url).database}.* TO collector")
        good = Store.connect(make_url(url).set(username="collector", password=RIGHT))
        good.migrate()
        good.check_schema()
        assert RIGHT not in f"{good!r} {good.describe()}"
        good.close()
        bad = Store.connect(make_url(url).set(username="collector", password=WRONG))
        for action in (bad.migrate, bad.check_schema, bad.describe, lambda: CollectionLock(bad).acquire("x")):
            with pytest.raises(StoreError, match=r"collector:\*\*\*@127.0.0.1.*Access denied") as caught:
                action()
            shown = "".join(traceback.format_exception(caught.value))
            assert WRONG not in shown
            assert "ttery" not in shown
