"""Whom alerts are posted to, and how their URLs stay secret.

Belongs here: names of targets and masking. Does not belong here: posting.

A target is called by the scheme of its URL: any other part of it may be a secret (a bot's token is the host of a
Telegram URL).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

    from market_assets.settings import Settings

#: shorter parts of a URL are words like `v1`; masking them would eat the message
_SHORTEST_SECRET = 4
#: parts that say nothing
_NO_SECRETS = frozenset({"http", "https", "localhost", "127.0.0.1", "true", "false", "html", "text", "markdown"})
_PARTS = re.compile(r"[/?&=,;:@#]+")
_MASK = "***"


@dataclass(frozen=True, slots=True)
class Target:
    """One receiver of alerts."""

    name: str
    url: SecretStr


def targets_of(settings: Settings) -> tuple[Target, ...]:
    """Return the targets that the settings name; the second one of a scheme is `scheme#2`."""
    seen: Counter[str] = Counter()
    targets = []
    for url in settings.alert_url_list:
        scheme = url.get_secret_value().partition("://")[0].lower()
        seen[scheme] += 1
        targets.append(Target(scheme if seen[scheme] == 1 else f"{scheme}#{seen[scheme]}", url))
    return tuple(targets)


class Masker:
    """Replaces everything in a text that stands in one of the secret URLs."""

    def __init__(self, urls: Iterable[SecretStr]) -> None:
        """Learn the secrets of `urls`."""
        parts: set[str] = set()
        for url in urls:
            parts |= _secrets_of(url.get_secret_value())
        # The longest first: a part may contain another. Host names come back in small letters.
        alternatives = "|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True))
        self._pattern = re.compile(alternatives, re.IGNORECASE) if parts else None

    def __call__(self, text: str) -> str:
        """Return `text` with every secret masked, in whatever case it is written."""
        return text if self._pattern is None else self._pattern.sub(_MASK, text)

    @classmethod
    def of(cls, settings: Settings) -> Masker:
        """Return the masker for every URL of the settings that alerts use."""
        more = (settings.heartbeat_url,) if settings.heartbeat_url is not None else ()
        return cls([*settings.alert_url_list, *more])


def _secrets_of(url: str) -> set[str]:
    """Return the URL and every part of it that could be a secret, as written and decoded."""
    scheme, _, rest = url.partition("://")
    found = {url, rest}
    try:
        password = urlsplit(f"x://{rest}").password
    except ValueError:
        password = None
    if password:
        found.add(password)
    found |= set(_PARTS.split(rest))
    found |= {unquote(part) for part in found}
    return {
        part
        for part in found
        if (len(part) >= _SHORTEST_SECRET or part == password) and part.lower() not in _NO_SECRETS | {scheme.lower()}
    }
