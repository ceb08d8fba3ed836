"""Cookies and crumbs, the way Yahoo hands them out.

Belongs here: what the A3 cookie looks like and which crumb belongs to it. Does not belong here: HTTP routes (`app.py`).
A crumb is a function of the cookie alone, so a cookie that a client kept from an earlier simulator stays valid.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode
from datetime import timedelta
from email.utils import format_datetime

from market_assets.clock import SystemClock

COOKIE = "A3"
_LIFETIME = timedelta(days=365)


def new_cookie() -> str:
    """Return the value of a Set-Cookie header with a fresh A3 cookie for all of yahoo.com.

    It expires by the machine's clock, whatever the simulator's: cookie jars live in real time. Secure, which Yahoo
    sets, is left out: a client refuses a Secure cookie over plain HTTP.
    """
    # Before 2033: yfinance takes a later expiry for milliseconds.
    expires = format_datetime(SystemClock().now() + _LIFETIME, usegmt=True)
    value = f"d={secrets.token_urlsafe(48)}&S={secrets.token_urlsafe(24)}"
    return f"{COOKIE}={value}; Expires={expires}; Domain=.yahoo.com; Path=/; HttpOnly"


def crumb_of(cookie: str) -> str:
    """Return the crumb that belongs to an A3 cookie."""
    return urlsafe_b64encode(hashlib.sha256(cookie.encode()).digest())[:11].decode()


def consent_page(session_id: str) -> str:
    """Return the consent form of guce.yahoo.com and consent.yahoo.com."""
    fields = {
        "csrfToken": secrets.token_hex(4),
        "sessionId": session_id,
        "originalDoneUrl": "https://finance.yahoo.com/",
        "namespace": "yahoo",
    }
    inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
    return (
        "<!DOCTYPE html><html><head><title>Yahoo is part of the Yahoo family of brands</title></head><body>"
        f'<form method="post" action="/v2/collectConsent?sessionId={session_id}" class="consent-form">{inputs}'
        '<button type="submit" name="agree" value="agree">Accept all</button></form></body></html>'
    )
