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
    from collections.abc import Iterable
    from datetime import datetime

_GZIP = "gzip"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A JSON body with its strong tag and its time of change, as the answers that can be given to a request."""

    tag: str
    changed_at: datetime
    #: answers are made once and sent many times: whole and 304, by whether they are packed
    _whole: dict[bool, Response]
    _known: dict[bool, Response]

    @classmethod
    def of(cls, document: dict[str, Any], changed_at: datetime) -> Self:
        """Render a document that changed at `changed_at` (aware)."""
        body = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        tag = hashlib.sha256(body).hexdigest()[:24]
        common = {
            "Last-Modified": format_datetime(changed_at.replace(microsecond=0), usegmt=True),
            # It may change at any time: whoever keeps it asks whether it did.
            "Cache-Control": "no-cache",
            "Vary": "Accept-Encoding",
        }
        # A strong tag is of the bytes that are sent.
        headers = {False: common | {"ETag": f'"{tag}"'}, True: common | {"ETag": f'"{tag}-gz"'}}
        packed = gzip.compress(body, 6, mtime=0)
        whole = {
            False: Response(body, headers=headers[False], media_type="application/json"),
            True: Response(packed, headers=headers[True] | {"Content-Encoding": _GZIP}, media_type="application/json"),
        }
        known = {packing: Response(status_code=304, headers=headers[packing]) for packing in (False, True)}
        return cls(tag, changed_at, whole, known)

    def answer(self, headers: Iterable[tuple[bytes, bytes]]) -> Response:
        """Return the answer to a request with these (raw) headers: whole, packed, or 304."""
        packed = False
        tags: bytes | None = None
        since: bytes | None = None
        for name, value in headers:
            if name == b"accept-encoding":
                packed = _GZIP.encode() in value
            elif name == b"if-none-match":
                tags = value
            elif name == b"if-modified-since":
                since = value
        return (self._known if self._is_known(tags, since) else self._whole)[packed]

    def _is_known(self, tags: bytes | None, since: bytes | None) -> bool:
        if tags is not None:
            held = {
                tag.strip().removeprefix("W/").strip('"').removesuffix("-gz")
                for tag in tags.decode("latin-1").split(",")
            }
            return "*" in held or self.tag in held
        if since is None:
            return False
        try:
            instant = parsedate_to_datetime(since.decode("latin-1"))
        except ValueError:
            return False  # HTTP says that a date which cannot be read is not there
        return instant.tzinfo is not None and self.changed_at.replace(microsecond=0) <= instant
