"""Query parameters: instants, symbols, lists; unknown ones are refused, so that a typing error is not a silent default.

Belongs here: types that routes share. Does not belong here: what is done with them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema
from pydantic.fields import FieldInfo

from market_assets.client.request import as_instant
from market_assets.crypto_join import reference_of
from market_assets.errors import FeatureRequestError, NaiveTimestampError
from market_assets.universe import UNIVERSE

_Model = TypeVar("_Model", bound=BaseModel)
#: a `+` that was not escaped arrives as a blank
_LOST_PLUS = re.compile(r" (\d\d:?\d\d)$")


#: query strings whose parameters are kept
_KEPT = 1024


class Asked(BaseModel):
    """Base of the query parameters of a route.

    FastAPI reads a model of parameters too, but takes longer for it than everything else does for the newest row: here
    each query string is read once. `documented` gives OpenAPI what FastAPI would have found out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def of(cls, request: Request) -> Self:
        """Return the parameters of a request; raise RequestValidationError for those that cannot be used."""
        return cls.read(request.scope["query_string"])

    @classmethod
    def read(cls, query: bytes) -> Self:
        """Return the parameters of a query string; raise as `of`."""
        found: Self = _parsed(cls, query)
        return found

    @classmethod
    def documented(cls) -> dict[str, Any]:
        """Return the `openapi_extra` of a route with these parameters."""
        schema = cls.model_json_schema()
        defined = schema.get("$defs", {})
        parameters = []
        for name, field in schema["properties"].items():
            shown = _inlined(field, defined)
            described = {"name": name, "in": "query", "required": False, "description": shown.pop("description", "")}
            shown.pop("title", None)
            if "examples" in shown:
                described["example"] = shown.pop("examples")[0]
            parameters.append(described | {"schema": shown})
        return {"parameters": parameters}


@lru_cache(_KEPT)
def _parsed(model: type[_Model], query: bytes) -> _Model:
    given: dict[str, list[str]] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        given.setdefault(name, []).append(value)
    listed = {field.alias or name for name, field in model.model_fields.items() if _is_list(field)}
    values = {name: found if name in listed else found[-1] for name, found in given.items()}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [{**problem, "loc": ("query", *problem["loc"])} for problem in error.errors()]
        raise RequestValidationError(problems) from None


def _is_list(field: FieldInfo) -> bool:
    return "list[" in str(field.annotation)


def _inlined(schema: Any, defined: dict[str, Any]) -> Any:  # noqa: ANN401 - a part of a JSON schema
    """Return a schema without references: OpenAPI's components do not know them."""
    if isinstance(schema, list):
        return [_inlined(part, defined) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        named = defined[schema["$ref"].rpartition("/")[2]]
        return _inlined({**named, **{key: value for key, value in schema.items() if key != "$ref"}}, defined)
    return {key: _inlined(value, defined) for key, value in schema.items()}


class FeatureSet(StrEnum):
    """Which features a row shows."""

    CORE = "core"
    ALL = "all"


def _instant(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = _LOST_PLUS.sub(r"+\1", value.upper())
    try:
        found = as_instant(text, "time")
    except (FeatureRequestError, NaiveTimestampError):
        raise ValueError("is no time with a zone; write e.g. 2026-01-31 or 2026-01-31T14:30Z") from None
    return found


def _symbol(value: object) -> object:
    reference = reference_of(value) if isinstance(value, str) else None
    if reference is None:
        known = ", ".join(ticker.name for ticker in UNIVERSE.crypto)
        raise ValueError(f"is no crypto reference; known are {known}")
    return reference


#: an aware instant; a day means 00:00 UTC of it
Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}),
]
#: name of a crypto reference; other spellings (btc-usd, BTCUSDT) are understood
Symbol = Annotated[
    str,
    BeforeValidator(_symbol),
    WithJsonSchema({"type": "string", "enum": [ticker.name for ticker in UNIVERSE.crypto]}),
]


def text_of(instant: datetime) -> str:
    """Return an instant as it stands in documents: ISO 8601 with Z."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def plain(value: Any) -> Any:  # noqa: ANN401 - a cell
    """Return a cell as JSON has it: instants as text, NaN as null."""
    if isinstance(value, datetime):
        return text_of(value)
    return None if value != value else value  # noqa: PLR0124 - NaN
