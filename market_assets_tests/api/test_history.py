"""`GET /ml-features/history`: pages, streams, formats."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal
from pyarrow import parquet

from market_assets.api import history, streams
from market_assets.api.accept import RowFormat, wanted_format
from market_assets.api.documents import HistoryPage
from market_assets.api.problems import ProblemError
from market_assets.client import FeatureStore
from market_assets.settings import Settings
from market_assets_tests.api.conftest import services_of

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

WHOLE = "/ml-features/history?start=2026-03-01&end=2026-03-03"


@pytest.fixture
def rows(database: Path) -> pd.DataFrame:
    """What the client reads."""
    with FeatureStore(settings=Settings.load(database_url=f"sqlite:///{database}")) as features:
        frame = features.history("2026-03-01", "2026-03-03")
    assert len(frame) == 60
    frame.attrs = {}
    return frame


@pytest.fixture
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_PIECE_ROWS", 7)


def as_frame(rows: Any, like: pd.DataFrame) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    for name in ("observed_at", "known_from"):
        frame[name] = pd.to_datetime(frame[name], format="ISO8601")
    return frame.astype(like.dtypes)


def test_pages_follow_each_other_and_hold_every_row_once(client: TestClient, rows: pd.DataFrame) -> None:
    path: str | None = f"{WHOLE}&limit=13"
    found: list[dict[str, Any]] = []
    marks = set()
    while path is not None:
        answer = client.get(path)
        page = HistoryPage.model_validate_json(answer.content)
        assert page.count == len(page.rows) <= 13
        assert (page.next is None) == ("link" not in answer.headers)
        marks.add(page.as_of)
        found += answer.json()["rows"]
        path = page.next
    assert len(marks) == 1
    assert_frame_equal(as_frame(found, rows), rows)


@pytest.mark.usefixtures("_small_pieces")
@pytest.mark.parametrize("form", ["csv", "parquet", "arrow"])
def test_a_stream_of_small_pieces_is_the_frame_to_the_bit(client: TestClient, rows: pd.DataFrame, form: str) -> None:
    answer = client.get(WHOLE, headers={"Accept": RowFormat(form).media_type})
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == RowFormat(form).media_type
    assert answer.headers["content-disposition"] == f'attachment; filename="ml_features_20260301_20260302.{form}"'
    if form == "csv":
        frame = as_frame(pd.read_csv(io.BytesIO(answer.content)).to_dict("records"), rows)
    else:
        read = parquet.read_table(io.BytesIO(answer.content)) if form == "parquet" else _arrow(answer.content)
        assert read.schema.metadata[b"as_of"].decode() == answer.headers["x-as-of"]
        frame = read.to_pandas().astype(rows.dtypes)
    assert_frame_equal(frame, rows, check_exact=True)


@pytest.mark.usefixtures("_small_pieces")
def test_a_range_that_begins_before_the_first_row_has_the_same_columns_in_every_piece(client: TestClient) -> None:
    table = _arrow(client.get("/ml-features/history?start=2026-02-28&end=2026-03-03&format=arrow").content)
    assert table.num_rows == 60
    assert str(table.schema.field("origin").type) == "string"


def _arrow(content: bytes) -> pa.Table:
    return pa.ipc.open_stream(content).read_all()


def test_chosen_features_come_in_the_order_that_was_asked_for(client: TestClient) -> None:
    for query in ("features=ml_spy_price,ml_qqq_price", "features=ml_spy_price&features=ml_qqq_price"):
        (row, *_) = client.get(f"{WHOLE}&{query}").json()["rows"]
        assert list(row) == [
            "observed_at",
            "ml_spy_price",
            "ml_qqq_price",
            "feature_count",
            "core_count",
            "origin",
            "known_from",
        ]


@pytest.mark.parametrize(
    "query", ["start=2027-01-01", "start=9999-12-30&end=9999-12-31", "end=0001-01-01", "as_of=2020-01-01"]
)
def test_a_range_without_rows_is_an_empty_page(client: TestClient, query: str) -> None:
    answer = client.get(f"/ml-features/history?{query}")
    assert answer.status_code == 200
    assert answer.json() | {"as_of": ""} == {"as_of": "", "count": 0, "rows": [], "next": None}


def test_without_bounds_the_last_week_is_given(client: TestClient) -> None:
    assert client.get("/ml-features/history").json()["count"] == 60


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("features=ml_qqq_prise", "did you mean ml_qqq_price"),
        ("features=ml_nasdaq_correlation", "ml_nasdaq_correlation"),
        ("limit=10001", "limit=10001: input should be less than or equal to 10000"),
        ("limit=0", "greater than or equal to 1"),
        ("vintage=old", "should be 'served' or 'revised'"),
        ("format=xml", "should be 'json', 'csv', 'parquet' or 'arrow'"),
        ("start=2026-03-01T12:00", "is no time with a zone"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_remedy(client: TestClient, query: str, told: str) -> None:
    answer = client.get(f"/ml-features/history?{query}")
    assert answer.status_code == 422
    assert told in answer.json()["detail"]


def test_a_range_that_ends_before_it_begins_is_none(client: TestClient) -> None:
    answer = client.get("/ml-features/history?start=2026-03-03&end=2026-03-01")
    assert answer.status_code == 404
    assert "lies after end=2026-03-01T00:00:00Z; swap them" in answer.json()["detail"]


def test_no_more_streams_than_the_limit_are_sent_at_once(client: TestClient) -> None:
    services = services_of(client)
    services.streams = streams.MOST_STREAMS
    answer = client.get(f"{WHOLE}&format=csv")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")
    services.streams = 0
    assert client.get(f"{WHOLE}&format=csv").status_code == 200
    assert services.streams == 0


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", RowFormat.JSON),
        ("*/*", RowFormat.JSON),
        ("text/html,application/xhtml+xml,*/*;q=0.8", RowFormat.JSON),
        ("text/*", RowFormat.CSV),
        ("text/csv;q=0.5, application/json;q=0.4", RowFormat.CSV),
        ("application/json;q=0, */*", RowFormat.CSV),
        ("application/*, application/vnd.apache.arrow.stream", RowFormat.ARROW),
        ("application/vnd.apache.parquet;q=1.0", RowFormat.PARQUET),
    ],
)
def test_accept_decides_the_format(accept: str, form: RowFormat) -> None:
    assert wanted_format(accept) is form


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*", "text/csv;q=high"])
def test_a_format_that_cannot_be_written_is_refused(client: TestClient, accept: str) -> None:
    with pytest.raises(ProblemError):
        wanted_format(accept)
    answer = client.get(WHOLE, headers={"Accept": accept})
    assert answer.status_code == 406
    assert "application/vnd.apache.parquet" in answer.json()["detail"]
