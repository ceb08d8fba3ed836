"""Posting one message to one target, through Apprise.

Belongs here: the only import of Apprise, and keeping what it logs away from every log. Does not belong here: which
message goes where, and when it is tried again (delivery.py).
"""

from __future__ import annotations

import logging
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from market_assets.alerts.targets import Masker

if TYPE_CHECKING:
    from market_assets.alerts.targets import Target
    from market_assets.store import AlertMessage

_ERROR_LIMIT = 200
_URL = re.compile(r"\b([A-Za-z0-9]+)://\S+")
#: the URL of a request, or of a target, stands in what these log
_CHATTY = (
    "apprise",
    "urllib3.connectionpool",
    "urllib3.util.retry",
    "urllib3.poolmanager",
    "requests_oauthlib.oauth2_session",
)


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a post: `error` is empty exactly if the target took it. It holds no secret."""

    target: str
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether the target took the message."""
        return not self.error


class Poster(Protocol):
    """Posts messages."""

    def post(self, target: Target, message: AlertMessage) -> Posted:
        """Post `message` to `target`; never raise for a post that fails."""
        ...


class ApprisePoster:
    """Posts through Apprise, which is imported by the first post: it costs a quarter of a CPU second."""

    def __init__(self, masker: Masker) -> None:
        """Mask in every error what `masker` knows."""
        self._mask = masker
        self._made: dict[str, Any] = {}
        self._filter = _Masked(masker)

    def post(self, target: Target, message: AlertMessage) -> Posted:
        """Post; the error of a failed post is what Apprise warned of, masked and cut."""
        kinds = {"error": "failure", "warn": "warning", "ok": "success"}
        apprise = _apprise()
        for name in _CHATTY:
            logging.getLogger(name).addFilter(self._filter)
        try:
            service = self._service(target)
            if service is None:
                return Posted(target.name, "Apprise can make nothing of its entry in ALERT_URLS")
            one = apprise.Apprise()
            one.add(service)
            result = one.notify(
                body=message.body or message.title,
                title=message.title if message.body else "",
                notify_type=kinds.get(message.severity, "info"),
                body_format="text",
                log_level=logging.WARNING,
            )
            if result:
                return Posted(target.name)
            said = "; ".join(dict.fromkeys(entry.message for entry in result.logs())) or "refused, no reason given"
        except Exception as error:  # noqa: BLE001 - a hundred services fail in as many ways; each is told
            said = f"{type(error).__name__}: {error}"
        finally:
            for name in _CHATTY:
                logging.getLogger(name).removeFilter(self._filter)
        return Posted(target.name, " ".join(self._mask(said).split())[:_ERROR_LIMIT])

    def _service(self, target: Target) -> Any:  # noqa: ANN401 - Apprise's own class, imported late
        if target.name not in self._made:
            self._made[target.name] = _instantiate(target)
        return self._made[target.name]


def unusable(target: Target) -> bool:
    """Whether Apprise cannot make anything of the target's URL."""
    masked = _Masked(Masker([target.url]))
    logger = logging.getLogger("apprise")
    logger.addFilter(masked)
    try:
        return _instantiate(target) is None
    finally:
        logger.removeFilter(masked)


class _Masked(logging.Filter):
    """Masks the records of libraries that log URLs; of Apprise's, what is less than a warning is dropped.

    Apprise logs its URLs with the first and the last letter of each secret, and payloads besides.
    """

    def __init__(self, masker: Masker) -> None:
        super().__init__()
        self._masker = masker

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "apprise" and record.levelno < logging.WARNING:
            return False
        record.msg, record.args = _URL.sub(r"\1://***", self._masker(record.getMessage())), ()
        return True


def _instantiate(target: Target) -> Any:  # noqa: ANN401 - Apprise's own class, imported late
    with warnings.catch_warnings():
        # The first one imports every plugin, some of which import what their Python deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        return _apprise().Apprise.instantiate(target.url.get_secret_value())


def _apprise() -> Any:  # noqa: ANN401 - a module
    import apprise  # noqa: PLC0415

    # Its debug log has the URLs in it. What it warns of is read from the result of each post.
    logger = logging.getLogger("apprise")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return apprise
