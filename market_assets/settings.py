"""Every environment variable the collector reads, typed, with default and unit.

Belongs here: the settings and their validation. Does not belong here: anything that acts on a setting. A bad value is
refused when the settings are loaded, with field, value and remedy; secrets are never shown.
"""

from __future__ import annotations

import logging
import os
import re
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from market_assets.calendars import ALLOWED_INTERVALS
from market_assets.errors import SettingsError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SECRET_FIELDS = frozenset(
    {
        "alert_urls",
        "api_token",
        "database_read_url",
        "database_url",
        "heartbeat_url",
        "mysql_password",
        "postgres_password",
    }
)
#: between two entries of ALERT_URLS; a comma within a URL stands before no scheme
_NEXT_URL = re.compile(r"[\s,;]+(?=[A-Za-z0-9]+://)")
_ONE_URL = re.compile(r"[A-Za-z0-9]+://\S+")

#: `ours=theirs` of CRYPTO_PRICES_COLUMNS
_COLUMN_PAIR = re.compile(r"(timestamp|symbol|price|volume|market_cap)\s*=\s*[A-Za-z_][A-Za-z0-9_]*")

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class Settings(BaseSettings):
    """The collector's settings; each is read from the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    collection_interval_minutes: int = Field(
        30,
        description="Minutes between two observation times, on the UTC grid; schedule and missed-tick limits follow.",
        json_schema_extra={"allowed": ", ".join(map(str, ALLOWED_INTERVALS))},
    )
    settle_minutes: int = Field(
        1,
        ge=0,
        le=59,
        description="Minutes after each observation time at which its tick starts; fewer than the interval.",
    )
    settle_days: int = Field(10, ge=1, le=59, description="UTC days that the nightly settle run reads again.")
    collection_start_date: date = Field(
        date(2017, 1, 1),
        ge=date(2017, 1, 1),
        description="First UTC day that can be collected, YYYY-MM-DD; where the asset partitions begin.",
    )
    ml_feature_count_target: int = Field(
        35, ge=0, description="Floor of non-null, fresh features for a healthy row; never a cap."
    )
    high_correlation_threshold: float = Field(
        0.65, gt=0.0, le=1.0, description="Absolute correlation from which a pair counts as highly correlated."
    )
    log_level: LogLevel = Field(
        "INFO",
        description="Level of the collector's own log; DEBUG tells every request. At a terminal, the command line's "
        "progress bar stands for INFO.",
        json_schema_extra={"allowed": ", ".join(get_args(LogLevel))},
    )
    crypto_prices_table: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$",
        description="Your own table in the same database (timestamp, symbol, price, volume, market_cap) on the left of "
        "the crypto join; timestamps without a zone are taken as UTC. Unset: the collected BTC and ETH bars.",
        json_schema_extra={"allowed": "`name` or `schema.name`"},
    )
    crypto_prices_columns: str = Field(
        "",
        description="What the columns of that table are called where their names differ. A table without volume or "
        "market_cap has NULL there.",
        json_schema_extra={"allowed": "e.g. `timestamp=ts,price=close_usd`"},
    )

    macro_indicators_compat: bool = Field(
        default=False,
        description="Also write `ml_macro_indicators` for consumers of the old system: a line for each feature and "
        "session (ML_QQQ_PRICE, ...), once the session's close is known.",
    )

    yfinance_request_delay: float = Field(
        0.1, ge=0.0, le=60.0, description="Seconds between the starts of two requests, process-wide."
    )
    yahoo_base_url: str | None = Field(
        None,
        description="Root of a server that speaks Yahoo's protocol (`market-assets simulate`); its rows are labelled "
        "`simulator` and, unless a database is named, go to simulated.db. Unset: Yahoo itself.",
        json_schema_extra={"allowed": "e.g. `http://127.0.0.1:8765`"},
    )
    yahoo_timeout_seconds: float = Field(20.0, gt=0.0, le=300.0, description="Seconds until a request is given up.")
    yahoo_attempts: int = Field(3, ge=1, le=10, description="How often one request is tried.")
    yahoo_backoff_seconds: float = Field(
        120.0,
        ge=0.0,
        le=3600.0,
        description="Seconds that all requests rest after a 429 (doubled at each further one); a collection waits out "
        "five minutes in all, then gives the batch up.",
    )
    yahoo_workers: int = Field(8, ge=1, le=32, description="Requests under way at once, at most.")

    database_url: SecretStr | None = Field(
        None,
        description="SQLAlchemy URL of the market database; wins over the rest.",
        json_schema_extra={"allowed": "sqlite, postgresql+psycopg, mysql+pymysql"},
    )
    mysql_host: str | None = Field(None, description="MySQL or MariaDB host; wins over POSTGRES_HOST.")
    mysql_port: int = Field(3306, ge=1, le=65535, description="MySQL or MariaDB port.")
    mysql_database: str | None = Field(None, description="MySQL or MariaDB database.")
    mysql_user: str | None = Field(None, description="MySQL or MariaDB user.")
    mysql_password: SecretStr | None = Field(None, description="MySQL or MariaDB password.")
    postgres_host: str | None = Field(None, description="PostgreSQL host.")
    postgres_port: int = Field(5432, ge=1, le=65535, description="PostgreSQL port.")
    postgres_database: str | None = Field(None, description="PostgreSQL database.")
    postgres_user: str | None = Field(None, description="PostgreSQL user.")
    postgres_password: SecretStr | None = Field(None, description="PostgreSQL password.")

    collection_lock_wait_seconds: float = Field(
        600.0, ge=0.0, le=86400.0, description="Seconds that a collection waits for another one before it gives up."
    )
    collection_lease_seconds: float = Field(
        120.0, ge=5.0, le=3600.0, description="Seconds after which a collection that died loses the collection lock."
    )

    run_retention_days: int = Field(
        30,
        ge=0,
        le=3650,
        description="Days that Dagster's runs and their events are kept; a nightly job purges older ones, but never "
        "the newest materialization or check evaluation of an asset partition. 0: for ever.",
    )
    backfill_days_per_run: int = Field(
        60,
        ge=1,
        le=3660,
        description="UTC days that one run of a backfill collects, at most. Ticks get their turn between two runs.",
    )

    alert_urls: SecretStr | None = Field(
        None,
        description="Whom alerts are posted to: Apprise URLs (Slack, e-mail, Telegram, webhooks and a hundred more), "
        "separated by spaces or commas; a comma within a URL is fine unless a scheme follows it. Unset: nobody.",
        json_schema_extra={"allowed": "secret, e.g. `slack://...` `mailtos://...` `tgram://...` `jsons://...`"},
    )
    alert_cooldown_minutes: int = Field(
        180,
        ge=0,
        le=1440,
        description="Minutes after an alert in which the same check of the same asset, when it fails once more, is "
        "held back: it is told when it has stayed so for as long, or as one line that says how often it came and went.",
    )
    alert_heartbeat_hour: int | None = Field(
        None,
        ge=0,
        le=23,
        description="UTC hour of a daily message that says that all is well, or what is open. Unset: none.",
    )
    heartbeat_url: SecretStr | None = Field(
        None,
        description="URL that is fetched after each good tick, for a dead-man's switch that tells you when it stops.",
        json_schema_extra={"allowed": "secret, `http://...` or `https://...`"},
    )
    dagster_ui_url: str | None = Field(
        None,
        description="Root of Dagster's UI, for the link to the run in an alert. Unset: the run's id.",
        json_schema_extra={"allowed": "e.g. `https://dagster.example.com`"},
    )
    runbook_url: str = Field(
        "docs/runbook.md",
        pattern=r"^\S+$",
        description="Where the runbook is, for the link in an alert; `#check_name` is added.",
    )

    database_read_url: SecretStr | None = Field(
        None,
        description="SQLAlchemy URL of a replica that the HTTP API reads from. Unset: the market database.",
        json_schema_extra={"allowed": "sqlite, postgresql+psycopg, mysql+pymysql"},
    )
    api_token: SecretStr | None = Field(
        None,
        min_length=16,
        description="Bearer token that POST /collect wants, 16 characters at least. Unset: that address is off.",
    )
    api_collect_per_hour: int = Field(
        12, ge=1, le=3600, description="How often POST /collect may be called in an hour, of each server process."
    )
    dagster_graphql_url: str | None = Field(
        None,
        description="Dagster's GraphQL address, by which POST /collect starts the job. Unset: it runs in a process of "
        "its own beside the API.",
        json_schema_extra={"allowed": "e.g. `http://dagster-webserver/graphql`"},
    )

    @field_validator("collection_interval_minutes")
    @classmethod
    def _interval_is_on_the_list(cls, value: int) -> int:
        if value not in ALLOWED_INTERVALS:
            allowed = ", ".join(str(minutes) for minutes in ALLOWED_INTERVALS)
            raise ValueError(f"must be one of {allowed}")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _level_in_capitals(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("crypto_prices_columns")
    @classmethod
    def _crypto_columns_are_pairs(cls, value: str) -> str:
        if value and not all(_COLUMN_PAIR.fullmatch(part.strip()) for part in value.split(",")):
            raise ValueError(
                "must be pairs of timestamp, symbol, price, volume or market_cap and a column's name, such as "
                "timestamp=ts,price=close_usd"
            )
        return value

    @field_validator("yahoo_base_url")
    @classmethod
    def _base_url_is_a_root(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("must be the root of an HTTP server, such as http://127.0.0.1:8765")
        if parts.username or parts.password:
            raise ValueError("must not carry credentials")
        return value.rstrip("/")

    @field_validator("dagster_graphql_url")
    @classmethod
    def _graphql_url_is_http(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an HTTP address, such as http://127.0.0.1:3000/graphql")
        if parts.username or parts.password:
            raise ValueError("must not carry credentials")
        return value

    @field_validator("database_url", "database_read_url")
    @classmethod
    def _database_url_parses(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            url = make_url(value.get_secret_value())
        except ArgumentError:
            raise ValueError(
                "is not a database URL; write e.g. postgresql+psycopg://user:password@host:5432/database, "
                "mysql+pymysql://user:password@host:3306/database or sqlite:////absolute/path.db"
            ) from None
        if url.get_backend_name() not in {"sqlite", "postgresql", "mysql", "mariadb"}:
            raise ValueError(f"names the database {url.get_backend_name()}; use sqlite, postgresql, mysql or mariadb")
        return value

    @field_validator("alert_urls")
    @classmethod
    def _alert_urls_are_urls(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            for number, url in enumerate(_split_urls(value), start=1):
                if not _ONE_URL.fullmatch(url):
                    raise ValueError(
                        f"has an entry, number {number}, that is no URL; write scheme://..., percent-encode blanks, "
                        "and separate entries by spaces or commas"
                    )
        return value

    @field_validator("heartbeat_url")
    @classmethod
    def _heartbeat_url_is_http(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _is_http(value.get_secret_value()):
            raise ValueError("is no HTTP URL; write https://host/path")
        return value

    @field_validator("dagster_ui_url")
    @classmethod
    def _ui_url_is_http(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not _is_http(value):
            raise ValueError("must be the root of Dagster's UI, such as https://dagster.example.com")
        if "@" in urlsplit(value).netloc:
            raise ValueError("must not carry credentials")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _ticks_settle_within_the_interval(self) -> Self:
        if self.settle_minutes >= self.collection_interval_minutes:
            raise ValueError(
                f"SETTLE_MINUTES={self.settle_minutes}: must be less than COLLECTION_INTERVAL_MINUTES="
                f"{self.collection_interval_minutes}; a tick would start when the next one is due"
            )
        return self

    @model_validator(mode="after")
    def _database_parts_are_complete(self) -> Self:
        if self.database_url is not None:
            return self
        for kind in ("mysql", "postgres"):
            host, database, user = (getattr(self, f"{kind}_{part}") for part in ("host", "database", "user"))
            if host and not (database and user):
                missing = [
                    f"{kind}_{part}".upper() for part in ("database", "user") if not getattr(self, f"{kind}_{part}")
                ]
                raise ValueError(
                    f"{kind.upper()}_HOST is set but {' and '.join(missing)} is not; set it or DATABASE_URL"
                )
        return self

    @classmethod
    def load(cls, **overrides: Any) -> Settings:  # noqa: ANN401 - pydantic checks each value
        """Read the environment; raise SettingsError naming every bad field, its value and the remedy."""
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from None

    @property
    def crypto_columns(self) -> dict[str, str]:
        """What the columns of the user's own crypto table are called, by our name; only those that differ."""
        pairs = (part.split("=") for part in self.crypto_prices_columns.split(",") if part.strip())
        return {ours.strip(): theirs.strip() for ours, theirs in pairs}

    @property
    def interval(self) -> timedelta:
        """Length of the observation grid's step."""
        return timedelta(minutes=self.collection_interval_minutes)

    @property
    def alert_url_list(self) -> tuple[SecretStr, ...]:
        """The entries of `alert_urls`, in order."""
        return () if self.alert_urls is None else tuple(map(SecretStr, _split_urls(self.alert_urls)))

    @property
    def source_label(self) -> str:
        """Label of the source that rows will carry."""
        return "simulator" if self.yahoo_base_url else "yahoo"

    def simulated_at(self, base_url: str) -> Settings:
        """Return these settings with the source at `base_url` and the embedded database of simulated rows."""
        databases = dict.fromkeys(("database_url", "database_read_url", "mysql_host", "postgres_host"))
        return self.model_copy(update={**databases, "yahoo_base_url": base_url})

    @property
    def sqlalchemy_url(self) -> URL:
        """URL of the market database, with an explicit driver; secrets are masked when it is printed."""
        if self.database_url is not None:
            return make_url(self.database_url.get_secret_value())
        for kind, driver in (("mysql", "mysql+pymysql"), ("postgres", "postgresql+psycopg")):
            if host := getattr(self, f"{kind}_host"):
                password: SecretStr | None = getattr(self, f"{kind}_password")
                return URL.create(
                    driver,
                    username=getattr(self, f"{kind}_user"),
                    password=password.get_secret_value() if password else None,
                    host=host,
                    port=getattr(self, f"{kind}_port"),
                    database=getattr(self, f"{kind}_database"),
                )
        # Real and simulated rows never share a file.
        return URL.create("sqlite", database="simulated.db" if self.yahoo_base_url else "market.db")

    @property
    def read_url(self) -> URL:
        """URL of the database that the HTTP API reads from."""
        if self.database_read_url is not None:
            return make_url(self.database_read_url.get_secret_value())
        return self.sqlalchemy_url

    @property
    def is_embedded(self) -> bool:
        """Whether the market database is a SQLite file."""
        return self.sqlalchemy_url.get_backend_name() == "sqlite"


def configure_logging(level: LogLevel) -> None:
    """Set the level of the package's logger; handlers belong to the program (Dagster or the command line)."""
    logging.getLogger("market_assets").setLevel(level)


def _split_urls(urls: SecretStr) -> list[str]:
    return [url for url in _NEXT_URL.split(urls.get_secret_value().strip(" \t\r\n,;")) if url]


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and not any(map(str.isspace, url))
    except ValueError:
        return False


def _explain(problem: ErrorDetails) -> str:
    field = ".".join(str(part) for part in problem["loc"])
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not field:
        return message
    name = field.upper()
    if field in _SECRET_FIELDS:
        return f"{name} {message[0].lower() + message[1:]} (the value is not shown)"
    value = os.environ.get(name, problem.get("input"))
    return f"{name}={value!s}: {message[0].lower() + message[1:]}. {Settings.model_fields[field].description}"
