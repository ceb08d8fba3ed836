"""Receipts and logs that are damaged in ways nobody plans for: an answer or one plain error, never a crash or a yes."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from market_assets import FeatureStore
from market_assets.client import files
from market_assets.errors import FeatureRequestError, ReceiptError, StoreError
from market_assets.receipts import read_receipt, verify_receipt
from market_assets.receipts.prints import Series, differences, written_down

if TYPE_CHECKING:
    from collections.abc import Callable

    from market_assets.receipts import Verdict
    from market_assets_tests.feature_log import FeatureLog

FEATURES = ("ml_qqq_price", "ml_hyg_change_1d", "ml_nasdaq_correlation")
BAR_US = 1_772_550_900_000_000
BAR = "bar QQQ 15m 2026-03-03T15:15Z"
THE_BAR = f"ticker='QQQ' AND interval='15m' AND bar_start={BAR_US}"


def frame_of(log: FeatureLog, **options: Any) -> pd.DataFrame:
    times = pd.date_range("2026-03-03T14:40Z", periods=12, freq="17min")
    asked = pd.DataFrame({"timestamp": times, "symbol": "BTC", "label": range(12)})
    return log.client.training_set(asked, features=FEATURES, **options)


@pytest.fixture(scope="module")
def written(story: FeatureLog, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """An exported training set and its receipt."""
    path = tmp_path_factory.mktemp("export") / "set.csv"
    story.client.to_csv(frame_of(story), path)
    return path.read_bytes(), receipt_of(path).read_bytes()


@pytest.fixture
def export(written: tuple[bytes, bytes], tmp_path: Path) -> Path:
    """A copy of both, to spoil."""
    path = tmp_path / "set.csv"
    path.write_bytes(written[0])
    receipt_of(path).write_bytes(written[1])
    return path


def receipt_of(export: Path) -> Path:
    return export.with_name(f"{export.name}.receipt.json")


def verify(path: Path, log: FeatureLog) -> Verdict:
    return verify_receipt(path, log.store, log.catalogue)


def run(log: FeatureLog, statement: str, *values: Any) -> int:
    with closing(sqlite3.connect(str(log.store.database.url.database))) as connection, connection:
        return connection.execute(statement, values).rowcount


# --- the log ----------------------------------------------------------------------------------------------------------


def test_a_bit_flipped_in_the_database_file_itself_names_the_bar(own_story: FeatureLog, export: Path) -> None:
    path = Path(str(own_story.store.database.url.database))
    own_story.store.database.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (high,) = connection.execute(f"SELECT high FROM market_bars WHERE {THE_BAR}").fetchone()  # noqa: S608
    content = bytearray(path.read_bytes())
    stored = struct.pack(">d", high)
    assert content.count(stored) == 1
    content[content.find(stored) + 7] ^= 1
    path.write_bytes(content)
    assert [finding.subject for finding in verify(export, own_story).findings] == [BAR]


@pytest.mark.parametrize("value", ["15o", "1h", "", "15M"])
def test_a_bar_of_another_interval_is_missed_even_if_the_maths_refuse_it(
    own_story: FeatureLog, export: Path, value: str
) -> None:
    assert run(own_story, f"UPDATE market_bars SET interval='{value}' WHERE {THE_BAR}") == 1  # noqa: S608
    found = {finding.subject: finding.detail for finding in verify(export, own_story).findings}
    assert "is gone" in found[BAR]
    if value != "1h":
        assert f"cannot be made again from what is stored: interval={value!r}" in found["the data set"]


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [("close", "a lot", "double"), ("bar_end", "soon", "timestamp")],
)
def test_a_value_that_no_column_holds_is_named_with_its_row(
    own_story: FeatureLog, export: Path, column: str, value: Any, kind: str
) -> None:
    run(own_story, f"UPDATE market_bars SET {column}=? WHERE {THE_BAR}", value)  # noqa: S608
    key = f"ticker=QQQ, interval=15m, bar_start={BAR_US}"
    words = f"market_bars.{column} holds {value!r}, which is no {kind}, in the row {key}"
    with pytest.raises(StoreError, match=re.escape(words)):
        verify(export, own_story)


def test_an_action_on_a_day_that_is_none_is_named(own_story: FeatureLog) -> None:
    assert run(own_story, "UPDATE corporate_actions SET ex_date='2026=03-05'") == 1
    with pytest.raises(StoreError, match=r"corporate_actions.ex_date holds '2026=03-05', which is no date"):
        own_story.client.latest()


def test_a_change_that_keeps_every_crc_is_still_told() -> None:
    """Two texts that differ by a multiple of CRC-32's polynomial have one CRC-32; the SHA-256 tells them apart."""
    polynomial = 1 | 0xEDB88320 << 1
    values, at_us = np.array([606.7, -0.25]).view(np.int64), np.array([1, 2], dtype=np.int64) * 60_000_000
    then = written_down([Series.of("QQQ 15m", at_us, values)])
    forged = Series.of("QQQ 15m", at_us, values ^ np.array([polynomial << 7, 0], dtype=np.int64))
    assert written_down([forged])["series"]["QQQ 15m"]["days"] == then["series"]["QQQ 15m"]["days"]
    assert [(change.what, change.position) for change in differences(then, [forged])] == [("unnamed", None)]


# --- the receipt ------------------------------------------------------------------------------------------------------


def changed(export: Path, change: Callable[[dict[str, Any]], object]) -> None:
    target = receipt_of(export)
    document = json.loads(target.read_text())
    change(document)
    target.write_text(json.dumps(document))


def test_a_truncated_receipt_is_refused_wherever_it_ends(story: FeatureLog, export: Path) -> None:
    whole = receipt_of(export).read_bytes()
    for end in (0, 1, 20, len(whole) // 3, len(whole) // 2, len(whole) - 3):
        receipt_of(export).write_bytes(whole[:end])
        with pytest.raises(ReceiptError, match="is no receipt"):
            verify(export, story)


@pytest.mark.parametrize("content", [b"[]", b"null", b"\xff\xfe\x00", b"[" * 100_000, b'{"receipt": "1"}'])
def test_what_is_no_receipt_is_refused(story: FeatureLog, export: Path, content: bytes) -> None:
    receipt_of(export).write_bytes(content)
    with pytest.raises(ReceiptError, match="is no receipt"):
        verify(export, story)


def test_a_receipt_of_a_later_form_says_what_to_do(story: FeatureLog, export: Path) -> None:
    changed(export, lambda receipt: receipt.update(receipt=2, columns="of another kind"))
    with pytest.raises(ReceiptError, match=r"is a receipt of form 2, this program knows form 1: .* or a newer one"):
        verify(export, story)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda receipt: receipt.pop("bars"), "bars: Field required"),
        (lambda receipt: receipt["columns"][3].pop("sha256"), r"columns\.3\.sha256: Field required"),
        (lambda receipt: receipt["columns"][3].update(kind="complex"), r"columns\.3\.kind"),
        (lambda receipt: receipt["file"].update(format="xlsx"), r"file\.format"),
        (lambda receipt: receipt["request"].update(vintage="best"), "request: vintage='best'"),
        (lambda receipt: receipt["request"].update(dataset="feast"), "request: dataset='feast'"),
        (lambda receipt: receipt["request"].update(mood="good"), "request: .*mood"),
        (lambda receipt: receipt["request"].update(as_of="noon"), "request: Invalid isoformat"),
        (lambda receipt: receipt["request"].update(tick_latency_seconds=-60.0), "tick_latency_seconds"),
        (lambda receipt: receipt["request"]["features"].pop(0), "lacks the feature of the column ml_qqq_price"),
        (lambda receipt: receipt["bars"].update(known_at="noon"), "bars: Invalid isoformat"),
        (lambda receipt: receipt["bars"]["series"]["QQQ 15m"].pop("days"), r"bars\.series\.QQQ 15m\.days"),
    ],
)
def test_a_damaged_receipt_names_the_part(
    story: FeatureLog, export: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    changed(export, change)
    with pytest.raises(ReceiptError, match=f"is damaged .*{words}"):
        verify(export, story)


@pytest.mark.parametrize("entry", [[99, ""], [0, "zz"], [0, "AAAA"], [0, "!"]])
def test_damaged_fingerprints_are_told_from_changed_bars(story: FeatureLog, export: Path, entry: list[Any]) -> None:
    def spoil(receipt: dict[str, Any]) -> None:
        receipt["bars"]["series"]["QQQ 15m"].update(sha256="0", days={"2026-03-03": entry})

    changed(export, spoil)
    with pytest.raises(ReceiptError, match="fingerprints of 2026-03-03"):
        verify(export, story)


def test_a_receipt_that_says_something_else_of_an_unchanged_file_is_told(story: FeatureLog, export: Path) -> None:
    changed(export, lambda receipt: receipt["columns"][2].update(sha256="0" * 64))
    assert [str(finding) for finding in verify(export, story).findings] == [
        "column label of set.csv is not what was exported"
    ]
    changed(export, lambda receipt: receipt["columns"][2].update(name="target"))
    details = [str(finding) for finding in verify(export, story).findings]
    assert details == [
        "file set.csv lacks the column target",
        "file set.csv has the column label, which was not exported",
    ]


# --- the file ---------------------------------------------------------------------------------------------------------


def test_file_and_receipt_may_move_and_be_renamed_together(story: FeatureLog, export: Path, tmp_path: Path) -> None:
    (tmp_path / "else where").mkdir()
    moved = tmp_path / "else where" / "täglich.csv"
    shutil.move(export, moved)
    with pytest.raises(ReceiptError, match=r"there is no file .*; a receipt is verified beside its file"):
        verify(receipt_of(export), story)
    with pytest.raises(ReceiptError, match="there is no receipt"):
        verify(moved, story)
    shutil.move(receipt_of(export), receipt_of(moved))
    assert verify(moved, story).identical
    assert verify(receipt_of(moved), story).identical


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: text[:0],
        lambda text: text.replace(",", ";"),
        lambda text: text.replace("\n", "\n\n")[: len(text) // 2],
        lambda text: text.replace("timestamp", "timestamp,timestamp", 1),
        lambda text: text + text.split("\n", 1)[1],
        lambda text: text.replace("+00:00", ""),
        lambda text: "\ufeff" + text,
        lambda text: text.replace(".", ","),
    ],
)
def test_a_file_that_was_mangled_is_never_identical_by_chance(
    story: FeatureLog, export: Path, rewrite: Callable[[str], str]
) -> None:
    """Either its values are still those that were exported, or it is told."""
    text = export.read_text()
    export.write_text(rewrite(text))
    try:
        verdict = verify(export, story)
    except (ReceiptError, FeatureRequestError):
        return
    if verdict.identical:
        mangled = pd.read_csv(export).drop(columns="timestamp")
        export.write_text(text)
        pd.testing.assert_frame_equal(mangled, pd.read_csv(export).drop(columns="timestamp"))


def test_an_export_that_fails_leaves_the_one_before(
    story: FeatureLog, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = export.read_bytes(), receipt_of(export).read_bytes()
    frame = frame_of(story, vintage="revised")
    spoilt = frame.assign(ml_qqq_price=1.0)
    spoilt.attrs = frame.attrs
    with pytest.raises(ReceiptError, match="no longer what FeatureStore returned"):
        story.client.to_csv(spoilt, export)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        story.client.to_csv(frame, export)
    monkeypatch.undo()
    monkeypatch.setattr(files, "_write_parquet", full)
    with pytest.raises(OSError, match="No space left"):
        story.client.to_parquet(frame, export)
    assert (export.read_bytes(), receipt_of(export).read_bytes()) == before
    assert {one.name for one in export.parent.iterdir()} >= {"set.csv", "set.csv.receipt.json"}
    assert not list(export.parent.glob("*.part"))
    assert verify(export, story).identical


def test_a_file_cannot_be_its_own_receipt(story: FeatureLog, tmp_path: Path) -> None:
    with pytest.raises(ReceiptError, match="has the name of a receipt; give the file another one"):
        story.client.to_csv(frame_of(story), tmp_path / "x.receipt.json")
    assert list(tmp_path.iterdir()) == []


def test_a_delay_cannot_be_negative(story: FeatureLog) -> None:
    """A backfilled row would be known before its time."""
    client = FeatureStore(store=story.store, universe=story.universe, tick_latency=-pd.Timedelta("1h"))
    with pytest.raises(FeatureRequestError, match=r"tick_latency=.*must not be negative"):
        client.training_set(pd.DataFrame({"timestamp": [pd.Timestamp("2026-03-03T15:00Z")]}), features=["ml_qqq_price"])


def test_a_receipt_reads_back_as_it_was_written(story: FeatureLog, tmp_path: Path) -> None:
    path = story.client.to_parquet(frame_of(story), tmp_path / "set.parquet")
    document = read_receipt(path)
    assert document == json.loads(path.read_text())
    assert document["file"]["name"] == "set.parquet"
    assert document["file"]["bytes"] == (tmp_path / "set.parquet").stat().st_size
