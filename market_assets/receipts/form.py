"""The form of a receipt: where it stands, what it holds, and reading one that may be damaged.

Belongs here: paths, the document's types, reading and checking it. Does not belong here: making it, verifying it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, NonNegativeFloat, PositiveInt, ValidationError

from market_assets.client.request import Request
from market_assets.errors import FeatureRequestError, ReceiptError
from market_assets.receipts.files import FileFormat
from market_assets.receipts.hashes import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

#: version of the document's form
FORM = 1
SUFFIX = ".receipt.json"


class _FileFacts(BaseModel):
    """The file that was written."""

    name: str
    format: FileFormat
    sha256: str
    bytes: int


class _ColumnFacts(BaseModel):
    """One column of the data set; `own` columns are the caller's and are not rebuilt."""

    name: str
    kind: Kind
    role: Literal["own", "rebuilt"]
    sha256: str


class _Code(BaseModel):
    """The program that made the data set."""

    version: str
    computation: str


class _Request(BaseModel):
    """How the data set was asked for; see `client.request.Request`, which checks more."""

    dataset: str
    features: list[str]
    interval_minutes: PositiveInt
    settle_seconds: NonNegativeFloat
    tick_latency_seconds: NonNegativeFloat
    ages: bool


class _SeriesPrints(BaseModel):
    """Fingerprints of one series; see `prints.written_down`."""

    sha256: str
    rows: int
    days: dict[str, tuple[int, str]]


class _ServedPrints(BaseModel):
    """Fingerprints of the stored feature rows and correlations that the data set shows."""

    columns: list[str]
    series: dict[str, _SeriesPrints]
    grids: list[list[int]]


class _BarPrints(BaseModel):
    """Fingerprints of every version of the bars and actions behind them; see `bars.Basement`."""

    known_at: str
    windows: dict[str, tuple[str, str]]
    series: dict[str, _SeriesPrints]
    grids: list[list[int]]


class _Receipt(BaseModel):
    """The whole document. `receipt` is the version of its form."""

    receipt: int
    file: _FileFacts
    rows: int
    as_of: str | None
    vintage: str
    basis: str
    window: dict[str, str | None]
    source: str | None
    database: str
    code: _Code
    feature_versions: dict[str, int]
    definitions: dict[str, str]
    coverage: dict[str, Any]
    request: _Request
    columns: list[_ColumnFacts]
    served: _ServedPrints
    bars: _BarPrints


def receipt_path(path: Path) -> Path:
    """Return where the receipt of a file stands; a receipt's own path is returned as it is."""
    return path if path.name.endswith(SUFFIX) else path.with_name(path.name + SUFFIX)


def file_path(path: Path) -> Path:
    """Return the file that a receipt is about; a file's own path is returned as it is."""
    return path.with_name(path.name.removesuffix(SUFFIX)) if path.name.endswith(SUFFIX) else path


def read_receipt(path: Path | str) -> dict[str, Any]:
    """Read the receipt of a file, or a receipt.

    Raises:
        ReceiptError: there is none, it is damaged, or a version of this program wrote it that has another form.
    """
    target = receipt_path(Path(path))
    try:
        document = json.loads(target.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReceiptError(f"there is no receipt {target}; an export writes it beside the file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ReceiptError(f"{target} is no receipt: {error}") from None
    form = document.get("receipt") if isinstance(document, dict) else None
    if isinstance(form, int) and form > FORM:
        raise ReceiptError(
            f"{target} is a receipt of form {form}, this program knows form {FORM}: verify it with the version of "
            "market-assets that it names, or a newer one"
        )
    if form != FORM:
        raise ReceiptError(f"{target} is no receipt of form {FORM}; another program wrote it")
    try:
        _Receipt.model_validate(document)
        request_in(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise damaged(target, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (KeyError, TypeError, ValueError, FeatureRequestError) as error:
        raise damaged(target, f"request: {error}") from None
    return dict(document)


def request_in(receipt: Mapping[str, Any]) -> Request:
    """Return how the data set of a receipt was made."""
    return Request.from_json(receipt["request"])


def damaged(path: Path, what: str) -> ReceiptError:
    """Return the error of a receipt that is not as it was written."""
    return ReceiptError(f"{path} is damaged ({what}); take it from a copy, or export again")
