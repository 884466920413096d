"""What the store of runs costs: lines of Valkey, or of DynamoDB and S3, and which a bill has."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import wukong
from wukong.cost import (
    READ_UNITS_PER_SEGMENT,
    WRITE_UNITS_PER_SEGMENT,
    Tariff,
    cost_of,
    tariff_of,
)
from wukong.ledger import Ledger
from wukong.prices import load_prices
from wukong.record import RECORD_COLUMNS, ExecutorRecord, Outline, RunRecord, Summary
from wukong.storage import StoreKind
from wukong.storage.notes import Place, Way, table
from wukong.usage import Usage, usage_of

ROOT = Path(__file__).parents[2]


def test_with_dynamodb_a_bill_has_units_and_requests_and_nothing_of_a_cache() -> None:
    used = Usage(
        segments=1_000_000,
        stored_bytes=1024**3,
        read_bytes=1024**3,
        inline_bytes=1024**2,
        objects=1000,
        object_reads=2000,
        seconds=3600.0,
    )
    lines = {line.what: line for line in Tariff(store="dynamodb").cost(used).lines}
    assert lines.keys() == {"table writes", "table reads", "bucket writes", "bucket reads"}
    assert lines["table writes"].quantity == 12e6 + 3 * 1024
    assert lines["table writes"].dollars == pytest.approx(7.5, rel=0.01)
    assert lines["table reads"].dollars == pytest.approx(0.35)
    assert lines["bucket writes"].dollars == pytest.approx(0.005)
    assert lines["bucket reads"].dollars == pytest.approx(0.0008)


COUNTED = re.compile(
    r"^\| .* \| (\d+) \| ([\d.]+) \| ([\d.]+) \| [\d.]+, [\d.]+ \| \$", re.MULTILINE
)


def test_units_of_a_segment_are_those_that_were_counted() -> None:
    page = (ROOT / "docs" / "storage.md").read_text(encoding="utf-8")
    rows = [tuple(map(float, row)) for row in COUNTED.findall(page)]
    assert len(rows) == 4
    segments = sum(row[0] for row in rows)
    for column, known in (1, WRITE_UNITS_PER_SEGMENT), (2, READ_UNITS_PER_SEGMENT):
        mean = sum(row[0] * row[column] for row in rows) / segments
        assert known == pytest.approx(mean, rel=0.02)


@pytest.mark.parametrize("store", ["dynamodb", "memory", "valkey"])
def test_a_bill_is_as_old_as_the_prices_of_the_services_that_it_has(store: StoreKind) -> None:
    prices = load_prices()
    services = (prices.dynamodb, prices.s3) if store == "dynamodb" else (prices.valkey,)
    bill = Tariff(store=store).cost(Usage(executor_seconds=1.0, segments=1))
    assert bill.prices_dated == min(one.dated for one in (prices.lambda_, *services)).isoformat()


@pytest.mark.parametrize(
    ("platform", "url", "store"),
    [
        ("aws", None, "dynamodb"),
        ("aws", "dynamodb+s3://table/bucket", "dynamodb"),
        ("aws", "valkeys://cache:6379", "valkey"),
        ("threads", None, "valkey"),
        ("local", None, "valkey"),
        ("local", "dynamodb+s3://table/bucket", "dynamodb"),
    ],
)
def test_before_it_is_asked_the_store_is_what_the_configuration_says(
    platform: str, url: str | None, store: str
) -> None:
    config = wukong.Config.model_validate({"platform": platform, "store": {"url": url}})
    assert tariff_of(config).store == store
    client = wukong.Client(config)
    assert client._surroundings().where["store"] == store


def test_where_a_stack_says_where_the_store_is_that_is_what_is_reckoned() -> None:
    ledger = Ledger(wukong.Config(platform="aws"))
    assert ledger.tariff().store == "dynamodb"
    ledger.stored_at("valkeys://cache:6379")
    assert ledger.tariff().store == "valkey"


def on_dynamo(sizes: Sequence[int]) -> RunRecord:
    """Make a record of segments with outputs of these sizes; the last reads all others."""
    last = len(sizes) - 1
    cells: list[float] = []
    for segment, size in enumerate(sizes):
        inputs = last if segment == last else 0
        cells += [0, segment, *(0,) * 9, size, inputs]
    return RunRecord(
        Summary("a", platform="aws", begun=1, where={"store": "dynamodb"}),
        Outline(
            name=array("I", range(len(sizes))),
            root=array("B", [*(0,) * last, 1]),
            needs=array("I", [*(0,) * last, last]),
            inputs=array("I", range(last)),
        ),
        (ExecutorRecord(*("a", "", "leaf", 0, ()), 0, Place(), 0.0, 1.5, None, (0,) * len(Way)),),
        table(RECORD_COLUMNS, cells),
        array("B", [Way.STORE] * last),
    )


def test_a_record_says_which_outputs_were_objects_and_how_often_they_were_read() -> None:
    used = usage_of(on_dynamo([4096, 4097, 100_000, 50_000]))
    assert (used.inline_bytes, used.objects) == (4096, 3)
    assert used.object_reads == 3, "two by the last segment, and the root by the client"
    unknown = usage_of(replace(on_dynamo([4096, 4097, 100_000, 50_000]), outline=Outline()))
    assert unknown.object_reads == 3, "all that was fetched"


def test_a_record_that_names_its_store_is_reckoned_with_it_and_an_old_one_as_valkey() -> None:
    record = on_dynamo([5000, 5000])
    bill = {line.what: line.quantity for line in cost_of(record).lines}
    assert bill["table writes"] == 2 * WRITE_UNITS_PER_SEGMENT
    assert (bill["bucket writes"], bill["bucket reads"]) == (2, 2)
    assert "store processing" not in bill
    kept = RunRecord.from_bytes(record.to_bytes())
    assert cost_of(kept).lines == cost_of(record).lines
    old = cost_of(replace(record, summary=replace(record.summary, where={})))
    assert {line.unit for line in old.lines} >= {"ECPU"}
    assert not {line.what for line in old.lines} & {"table writes", "bucket writes"}
