from __future__ import annotations

import pytest

from market_assets.automation.schedules import tick_cron
from market_assets.errors import SettingsError
from market_assets.settings import Settings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_documented_defaults_hold() -> None:
    settings = Settings.load()
    assert settings.collection_interval_minutes == 30
    assert settings.ml_feature_count_target == 35
    assert settings.high_correlation_threshold == 0.65
    assert settings.log_level == "INFO"
    assert settings.yfinance_request_delay == 0.1
    assert settings.sqlalchemy_url.render_as_string() == "sqlite:///market.db"
    assert settings.source_label == "yahoo"


def test_an_interval_off_the_list_is_refused_with_field_value_and_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTION_INTERVAL_MINUTES", "45")
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    message = str(refused.value)
    assert "COLLECTION_INTERVAL_MINUTES=45" in message
    assert "15, 30, 60, 120, 180, 240, 360, 720, 1440" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COLLECTION_INTERVAL_MINUTES", "half an hour"),
        ("ML_FEATURE_COUNT_TARGET", "-1"),
        ("HIGH_CORRELATION_THRESHOLD", "1.5"),
        ("LOG_LEVEL", "LOUD"),
        ("YFINANCE_REQUEST_DELAY", "-0.1"),
        ("YAHOO_BASE_URL", "localhost:8765"),
        ("YAHOO_BASE_URL", "http://user:secret@127.0.0.1:1"),
        ("CRYPTO_PRICES_TABLE", "prices; drop table prices"),
        ("CRYPTO_PRICES_COLUMNS", "price"),
        ("CRYPTO_PRICES_COLUMNS", "prize=x"),
        ("CRYPTO_PRICES_COLUMNS", "price=x; drop table prices"),
        ("CRYPTO_PRICES_COLUMNS", "price=x,"),
        ("COLLECTION_START_DATE", "yesterday"),
        ("RUN_RETENTION_DAYS", "-1"),
        ("RUN_RETENTION_DAYS", "a month"),
        ("BACKFILL_DAYS_PER_RUN", "0"),
    ],
)
def test_a_bad_value_is_refused_naming_the_field(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        Settings.load()


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    monkeypatch.setenv("SETTLE_DAYS", "0")
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert "LOG_LEVEL" in str(refused.value)
    assert "SETTLE_DAYS" in str(refused.value)


@pytest.mark.parametrize("url", ["postgresql//nobody:hunter2@db/market", "oracle://nobody:hunter2@db/market"])
def test_a_bad_database_url_never_shows_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert "DATABASE_URL" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_database_url_wins_over_mysql_and_mysql_over_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("POSTGRES", "MYSQL"):
        monkeypatch.setenv(f"{kind}_HOST", f"{kind.lower()}.local")
        monkeypatch.setenv(f"{kind}_DATABASE", "market")
        monkeypatch.setenv(f"{kind}_USER", "reader")
        monkeypatch.setenv(f"{kind}_PASSWORD", "hunter2")
    assert Settings.load().sqlalchemy_url.render_as_string() == "mysql+pymysql://reader:***@mysql.local:3306/market"
    monkeypatch.delenv("MYSQL_HOST")
    assert (
        Settings.load().sqlalchemy_url.render_as_string()
        == "postgresql+psycopg://reader:***@postgres.local:5432/market"
    )
    monkeypatch.setenv("DATABASE_URL", "sqlite:////tmp/x.db")
    assert Settings.load().sqlalchemy_url.render_as_string() == "sqlite:////tmp/x.db"


def test_a_host_without_a_database_is_refused_not_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYSQL_HOST", "db")
    with pytest.raises(SettingsError, match="MYSQL_DATABASE and MYSQL_USER"):
        Settings.load()


def test_settings_never_print_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://u:hunter2@db/market")
    assert "hunter2" not in repr(Settings.load())


def test_a_simulated_source_has_its_own_database_and_leaves_the_configured_one_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://u:p@db/market")
    settings = Settings.load()
    assert settings.sqlalchemy_url.host == "db"
    simulated = settings.simulated_at("http://127.0.0.1:1")
    assert simulated.sqlalchemy_url.render_as_string() == "sqlite:///simulated.db"
    assert simulated.source_label == "simulator"


@pytest.mark.parametrize(
    ("interval", "settle", "cron"),
    [
        (15, 1, "1,16,31,46 * * * *"),
        (30, 1, "1,31 * * * *"),
        (30, 2, "2,32 * * * *"),
        (60, 1, "1 * * * *"),
        (180, 1, "1 0,3,6,9,12,15,18,21 * * *"),
        (1440, 5, "5 0 * * *"),
    ],
)
def test_the_schedule_follows_the_interval(interval: int, settle: int, cron: str) -> None:
    assert tick_cron(interval, settle) == cron


def test_settle_minutes_must_be_less_than_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETTLE_MINUTES", "30")
    with pytest.raises(SettingsError, match="SETTLE_MINUTES=30: must be less than COLLECTION_INTERVAL_MINUTES=30"):
        Settings.load()
    monkeypatch.setenv("COLLECTION_INTERVAL_MINUTES", "60")
    assert Settings.load().settle_minutes == 30


@pytest.mark.parametrize("name", ["COLLECTION_LEASE_SECONDS", "COLLECTION_LOCK_WAIT_SECONDS", "YFINANCE_REQUEST_DELAY"])
@pytest.mark.parametrize("value", ["inf", "nan", "-1"])
def test_a_duration_must_be_a_finite_number(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        Settings.load()


def test_columns_of_the_crypto_table_are_named_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().crypto_columns == {}
    monkeypatch.setenv("CRYPTO_PRICES_COLUMNS", "timestamp=ts, price = close_usd")
    assert Settings.load().crypto_columns == {"timestamp": "ts", "price": "close_usd"}
