"""The collector's own log, as the command line shows it: on standard error, one line per entry, times in UTC.

Belongs here: the handler. Does not belong here: what is logged.

At a terminal the progress bar tells what INFO would, so there only WARNING and above are shown unless LOG_LEVEL=DEBUG.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from rich.text import Text

from market_assets.cli.console import errors
from market_assets.settings import Settings, configure_logging

if TYPE_CHECKING:
    from market_assets.settings import LogLevel


class _ConsoleHandler(logging.Handler):
    """Prints through the console of the progress bar, which thus stays below the entries."""

    def emit(self, record: logging.LogRecord) -> None:
        errors.print(Text(self.format(record)), soft_wrap=True)


def load_settings() -> Settings:
    """Load the settings and let the package log as they say; raise SettingsError."""
    settings = Settings.load()
    log_to_stderr(settings.log_level)
    return settings


def log_to_stderr(level: LogLevel) -> None:
    """Show the package's log on standard error from `level` on; calling it again changes the level."""
    configure_logging(level)
    logger = logging.getLogger("market_assets")
    for handler in [handler for handler in logger.handlers if isinstance(handler, _ConsoleHandler)]:
        logger.removeHandler(handler)
    handler = _ConsoleHandler()
    if errors.is_terminal and level == "INFO":
        handler.setLevel(logging.WARNING)
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger.addHandler(handler)
