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
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


def hider_of(settings: Settings) -> Callable[[str], str]:
    """Return what replaces whole secret URLs and passwords in the texts of errors, the database's among them.

    Parts of URLs are left: a host's or a database's name may be any word of a message.
    """
    urls = [url.get_secret_value() for url in (*settings.alert_url_list, settings.heartbeat_url) if url is not None]
    given = (settings.database_url, settings.mysql_password, settings.postgres_password)
    database, *passwords = ("" if one is None else one.get_secret_value() for one in given)
    words = {*urls, *passwords, *(_password_of(url) or "" for url in (*urls, database))}
    forms = {form for word in words for form in (word, unquote(word), quote(word, safe=""))}
    pattern = _any_of({form for form in forms if len(form) >= _SHORTEST_SECRET})
    return lambda text: text if pattern is None else pattern.sub(_MASK, text)


class Masker:
    """Replaces everything in a text that stands in one of the secret URLs."""

    def __init__(self, urls: Iterable[SecretStr]) -> None:
        """Learn the secrets of `urls`."""
        parts: set[str] = set()
        for url in urls:
            parts |= _secrets_of(url.get_secret_value())
        self._pattern = _any_of(parts)

    def __call__(self, text: str) -> str:
        """Return `text` with every secret masked, in whatever case it is written."""
        return text if self._pattern is None else self._pattern.sub(_MASK, text)

    @classmethod
    def of(cls, settings: Settings) -> Masker:
        """Return the masker for every URL of the settings that alerts use."""
        more = (settings.heartbeat_url,) if settings.heartbeat_url is not None else ()
        return cls([*settings.alert_url_list, *more])


def _any_of(parts: set[str]) -> re.Pattern[str] | None:
    """Return a pattern for any of `parts`, None if there is none."""
    # The longest first: a part may contain another. Host names come back in small letters.
    alternatives = "|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True))
    return re.compile(alternatives, re.IGNORECASE) if parts else None


def _password_of(url: str) -> str | None:
    try:
        return urlsplit(f"x://{url.partition('://')[2]}").password
    except ValueError:
        return None


def _secrets_of(url: str) -> set[str]:
    """Return the URL and every part of it that could be a secret, as written and decoded."""
    scheme, _, rest = url.partition("://")
    found = {url, rest}
    password = _password_of(url)
    if password:
        found.add(password)
    found |= set(_PARTS.split(rest))
    found |= {unquote(part) for part in found}
    return {
        part
        for part in found
        if (len(part) >= _SHORTEST_SECRET or part == password) and part.lower() not in _NO_SECRETS | {scheme.lower()}
    }
