"""Making a receipt, and writing it beside its file.

Belongs here: what each part of the document says. Does not belong here: the document's form (`form.py`), verifying it.

A receipt holds no secret: of the database its kind, never its address.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import market_assets
from market_assets.calendars import US_PER_MINUTE, from_us, observation_grid
from market_assets.client.request import ATTRS_KEY, Request
from market_assets.errors import ReceiptError
from market_assets.receipts.bars import LogVersions
from market_assets.receipts.form import FORM, receipt_path
from market_assets.receipts.grounds import Grounds
from market_assets.receipts.hashes import column_hash, differing, kind_of
from market_assets.receipts.prints import written_down

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from market_assets.client.columns import Catalogue
    from market_assets.receipts.files import FileFormat
    from market_assets.receipts.hashes import Kind
    from market_assets.store import Store

#: what decides the bits of a value: sources whose hash stands for the version of the computation
_COMPUTATION = (
    "calendars",
    "indicators",
    "maths",
    "columns.py",
    "correlations.py",
    "features.py",
    "metrics.py",
    "row_texts.py",
)


def request_of(frame: pd.DataFrame) -> Request:
    """Return how a frame of the client was made, without the features that have been dropped from it since."""
    made = frame.attrs.get(ATTRS_KEY)
    if made is None:
        raise ReceiptError(
            "the frame does not say how it was made: pandas drops attrs in a merge, among others. Export the frame "
            "that FeatureStore returned, with your own columns added to it or to the entities"
        )
    request = Request.from_json(made)
    kept = [name for name in request.features if name in frame.columns]
    return Request.from_json({**made, "features": kept})


def make_receipt(
    frame: pd.DataFrame, path: Path, form: FileFormat, store: Store, catalogue: Catalogue
) -> dict[str, Any]:
    """Return the receipt of a frame that has been written to `path`.

    Raises:
        ReceiptError: the frame does not say how it was made, or no longer holds what the client put into it.
    """
    request = request_of(frame)
    _require_names(frame)
    grounds = Grounds.of(store, frame, request, catalogue)
    rebuilt = grounds.rebuilt()
    names = grounds.rebuilt_names(frame)
    columns = []
    for name in frame.columns:
        kind = kind_of(rebuilt[name] if name in names else frame[name])
        if name in names:
            _require_unchanged(frame[name], rebuilt[name], kind)
        role = "rebuilt" if name in names else "own"
        columns.append({"name": name, "kind": kind.value, "role": role, "sha256": column_hash(frame[name], kind)})
    basement = grounds.basement()
    return {
        "receipt": FORM,
        "file": {"name": path.name, "format": form, "sha256": file_hash(path), "bytes": path.stat().st_size},
        "rows": len(frame),
        "as_of": None if request.as_of is None else request.as_of.isoformat(),
        "vintage": request.vintage,
        "basis": request.basis,
        "window": _window(grounds),
        "source": store.source(),
        "database": store.describe().dialect,
        "code": code_version(),
        "feature_versions": _counted(grounds.material.rows.extra["feature_version"][grounds.rows]),
        "definitions": {name: catalogue.definition(name) for name in request.features},
        "coverage": _coverage(frame, grounds),
        "request": request.to_json(),
        "columns": columns,
        "served": {"columns": list(grounds.material.rows.names)} | written_down(grounds.served()),
        "bars": basement.to_json() | LogVersions.read(store, basement).fingerprints(),
    }


def write_with_receipt(
    frame: pd.DataFrame,
    path: Path | str,
    form: FileFormat,
    store: Store,
    catalogue: Catalogue,
    *,
    write: Callable[[Path], None],
) -> Path:
    """Write a frame to `path` by `write` and its receipt beside it; return the receipt's path.

    Both are whole when they appear, and neither appears if anything fails.

    Raises:
        ReceiptError: as `make_receipt`, or the path is that of a receipt.
    """
    path = Path(path)
    target = receipt_path(path)
    if target == path:
        raise ReceiptError(f"{path} has the name of a receipt; give the file another one")
    request_of(frame)  # before anything is written
    parts = path.with_name(f"{path.name}.part"), target.with_name(f"{target.name}.part")
    try:
        write(parts[0])
        document = make_receipt(frame, parts[0], form, store, catalogue)
        document["file"]["name"] = path.name
        parts[1].write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
        parts[0].replace(path)
        parts[1].replace(target)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return target


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_version() -> dict[str, str]:
    """Return the package's version, and a hash over the sources that decide the bits of a value."""
    root = Path(market_assets.__file__).parent
    digest = hashlib.sha256()
    for name in _COMPUTATION:
        target = root / name
        for source in sorted(target.rglob("*.py")) if target.is_dir() else [target]:
            digest.update(source.relative_to(root).as_posix().encode() + b"\0" + source.read_bytes())
    try:
        number = version("market-assets")
    except PackageNotFoundError:  # run from a source tree that is not installed
        number = "unknown"
    return {"version": number, "computation": digest.hexdigest()[:16]}


def _require_names(frame: pd.DataFrame) -> None:
    names = list(frame.columns)
    odd = next((name for name in names if not isinstance(name, str) or names.count(name) > 1), None)
    if odd is not None:
        raise ReceiptError(f"column {odd!r}: every column of an export needs a name of its own, a text; rename it")


def _require_unchanged(column: pd.Series, rebuilt: pd.Series, kind: Kind) -> None:
    same_length = len(column) == len(rebuilt)
    changed = np.flatnonzero(differing(column, rebuilt, kind)) if same_length else np.array([0])
    if len(changed):
        raise ReceiptError(
            f"column {column.name!r} is no longer what FeatureStore returned, first in line {changed[0]}; a receipt "
            "vouches for what the log holds: put derived values into columns with names of their own"
        )


def _window(grounds: Grounds) -> dict[str, str | None]:
    times = grounds.observed_us if grounds.entities is None else grounds.entities.at_us
    if not len(times):
        return {"first": None, "last": None}
    return {"first": from_us(int(times.min())).isoformat(), "last": from_us(int(times.max())).isoformat()}


def _coverage(frame: pd.DataFrame, grounds: Grounds) -> dict[str, Any]:
    """Return how complete the data set is: its feature rows against the grid, their origins, values per feature."""
    log, rows = grounds.material.rows, grounds.rows
    told: dict[str, Any] = {"feature_rows": len(rows), "origins": _counted(log.extra["origin"][rows])}
    if len(rows):
        first, last = int(log.observed_us[rows[0]]), int(log.observed_us[rows[-1]])
        step = grounds.request.interval_minutes
        grid = observation_grid(first, last + int(step * US_PER_MINUTE), step)
        told |= {
            "first_observed_at": from_us(first).isoformat(),
            "last_observed_at": from_us(last).isoformat(),
            "observation_times": len(grid),
            "rows_in_log": int(np.isin(grid, log.observed_us).sum()),
        }
    told["values"] = {name: int(frame[name].notna().sum()) for name in grounds.request.features}
    return told


def _counted(values: Any) -> dict[str, int]:  # noqa: ANN401 - an array of texts
    return dict(sorted(Counter(str(value) for value in values).items()))
