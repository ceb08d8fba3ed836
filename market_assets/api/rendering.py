"""A body that is sent many times: rendered once, with its tag, packed and unpacked.

Belongs here: HTTP's conditional requests and the packing. Does not belong here: what is in the body.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

from starlette.responses import Response

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.datastructures import Headers

_GZIP = "gzip"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A JSON body, its strong tag and its time of change."""

    body: bytes
    packed: bytes
    tag: str
    changed_at: datetime
    #: of each form, as they are sent
    headers: dict[str, str]

    @classmethod
    def of(cls, document: dict[str, Any], changed_at: datetime) -> Self:
        """Render a document that changed at `changed_at` (aware)."""
        body = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        tag = hashlib.sha256(body).hexdigest()[:24]
        headers = {
            "Last-Modified": format_datetime(changed_at.replace(microsecond=0), usegmt=True),
            # It may change at any time: whoever keeps it asks whether it did.
            "Cache-Control": "no-cache",
            "Vary": "Accept-Encoding",
        }
        return cls(body, gzip.compress(body, 6, mtime=0), tag, changed_at, headers)

    def answer(self, request: Headers) -> Response:
        """Return the answer to a request with these headers: whole, packed, or 304."""
        packed = _GZIP in request.get("accept-encoding", "")
        # A strong tag is of the bytes that are sent.
        tag = f'"{self.tag}-gz"' if packed else f'"{self.tag}"'
        headers = self.headers | {"ETag": tag}
        if self._is_known(request):
            return Response(status_code=304, headers=headers)
        if packed:
            headers["Content-Encoding"] = _GZIP
        return Response(self.packed if packed else self.body, headers=headers, media_type="application/json")

    def _is_known(self, request: Headers) -> bool:
        held = request.get("if-none-match")
        if held is not None:
            tags = {tag.strip().removeprefix("W/").strip('"').removesuffix("-gz") for tag in held.split(",")}
            return "*" in tags or self.tag in tags
        since = request.get("if-modified-since")
        if since is None:
            return False
        try:
            instant = parsedate_to_datetime(since)
        except ValueError:
            return False  # HTTP says that a date which cannot be read is not there
        return instant.tzinfo is not None and self.changed_at.replace(microsecond=0) <= instant
