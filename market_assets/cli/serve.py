"""`market-assets serve`: the HTTP API in the foreground.

Belongs here: starting the server and its log. Does not belong here: the application (`api/`).
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from market_assets.cli.console import escape, tell
from market_assets.cli.failures import CommandFailedError
from market_assets.cli.interrupts import Interrupted, collect_garbage
from market_assets.settings import Settings, configure_logging

if TYPE_CHECKING:
    from market_assets.settings import LogLevel

#: seconds that answers under way get when the server is asked to stop
_GRACE_SECONDS = 20
_KEEP_ALIVE_SECONDS = 10
#: requests at once; more are refused with 503 before they cost anything
_MOST_AT_ONCE = 512
#: connections that wait to be accepted
_BACKLOG = 1024
_STANDARD = frozenset(vars(logging.makeLogRecord({})))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what was said beside it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry: dict[str, object] = {
            "at": _text(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def log_access(facts: dict[str, object]) -> None:
    """Write the line of one request; Python's logging would take longer than answering it."""
    sys.stdout.write(json.dumps({"at": _text(datetime.now(UTC)), "level": "INFO", "logger": "access", **facts}) + "\n")
    sys.stdout.flush()


def serve(*, host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C; answers under way are finished first."""
    try:
        import uvicorn

        from market_assets.api.app import create_app
    except ImportError as error:
        raise CommandFailedError(
            f"the HTTP API needs the package {error.name}: pip install 'market-assets[api]'"
        ) from None

    settings = Settings.load()
    _log_json(settings.log_level)
    config = uvicorn.Config(
        create_app(settings, access_log=log_access if settings.log_level in {"DEBUG", "INFO"} else None),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        limit_concurrency=_MOST_AT_ONCE,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        lifespan="on",
    )
    collect_garbage()
    tell(f"The API answers on http://{escape(host)}:{port}; Ctrl-C stops it.")
    if settings.api_token is None:
        tell("[dim]POST /collect is off: API_TOKEN is not set.[/]")
    server = uvicorn.Server(config)
    try:
        server.run()
    except Interrupted:
        pass  # which is how it is meant to end
    except SystemExit:
        raise CommandFailedError(
            f"cannot listen on {host}:{port}; choose another --port or --host. The log says more"
        ) from None


def _log_json(level: LogLevel) -> None:
    configure_logging(level)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    for name, lowest in (("market_assets", level), ("uvicorn", "WARNING" if level == "INFO" else level)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(lowest)
        logger.propagate = False


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
