"""What runs cost: the price table, the bill, and the budget."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dask
import pytest
import yaml

import wukong
from wukong.config import ConfigError
from wukong.cost import (
    EXECUTOR_MEMORY_MB,
    INVOKER_MEMORY_MB,
    NOTHING,
    Cost,
    CostLine,
    Tariff,
    cost_of,
    dollars,
    tariff_of,
    total,
)
from wukong.ledger import BudgetError, Ledger
from wukong.platform.interface import Provision
from wukong.platform.threads import ThreadsPlatform
from wukong.prices import FILE, load_prices
from wukong.record import GIVEN_COLUMNS, ExecutorRecord, RunRecord, Summary
from wukong.report.view import view_of
from wukong.storage.notes import Place, Way, table
from wukong.submission import RunError
from wukong.usage import Meter, Usage, usage_of
from wukong.view import safe_url

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["threads", "local"])
def client(request: pytest.FixtureRequest) -> Iterator[wukong.Client]:
    with wukong.Client(wukong.Config(), platform=request.param, workers=2) as client:
        yield client


@dask.delayed(pure=True)
def work(number: int) -> int:
    """Take time, which is what the bill is compared with."""
    time.sleep(0.2)
    return number


def many(size: int) -> Any:
    return dask.delayed(sum)([work(number) for number in range(size)])


def test_a_bill_is_what_lambda_and_the_store_ask_for() -> None:
    used = Usage(
        executor_seconds=1000.0,
        executor_requests=50,
        invoker_seconds=2.0,
        invoker_requests=1,
        segments=100,
        stored_bytes=1024**3,
        read_bytes=1024**3,
        seconds=3600.0,
    )
    lines = {line.what: line for line in Tariff(memory_mb=2048).cost(used).lines}
    assert lines["Executor compute"].quantity == 2000.0
    assert lines["Executor compute"].dollars == pytest.approx(2000 * 0.0000166667)
    assert lines["Executor requests"].dollars == pytest.approx(50 * 0.2e-6)
    assert lines["Invoker compute"].quantity == 1.0
    assert lines["store data"].dollars == pytest.approx(0.084)
    assert lines["store processing"].quantity == 100 * 2 * 100 + 2 * 1024**2


def test_the_other_processor_and_another_region_have_their_prices() -> None:
    assert Tariff(architecture="arm64").gb_second == 0.0000133334
    assert Tariff(region="ap-east-1").gb_second == 0.00002292
    assert Tariff(region="mars-north-1").gb_second == Tariff().gb_second


def test_costs_add_up_line_by_line() -> None:
    one = Cost((CostLine("a", 1, "s", 2.0), CostLine("b", 1, "s", 1.0)), "2026-01-02")
    both = total([one, Cost((CostLine("a", 2, "s", 4.0),), "2025-01-02", billed=False), NOTHING])
    assert both.lines == (CostLine("a", 3, "s", 6.0), CostLine("b", 1, "s", 1.0))
    assert both.dollars == 7.0
    assert both.prices_dated == "2025-01-02"
    assert not both.billed


def test_a_meter_adds_up_what_it_sees() -> None:
    meter = Meter(alive=4)
    meter.look(10.0, alive=4, begun=4, done=1)
    meter.look(20.0, alive=0, begun=6, done=5)
    meter.end(30.0, segments=9)
    used = meter.usage
    assert used.executor_seconds == 4 * 10 + 2 * 10
    assert (used.executor_requests, used.segments, used.seconds) == (6, 9, 30.0)


def executor(token: str, parent: str, **place: Any) -> ExecutorRecord:
    traffic = [0] * len(Way)
    traffic[Way.STORE] = 1000
    return ExecutorRecord(
        token, parent, "leaf", 0, (), 0, Place(**place), 0.0, 1.5, None, tuple(traffic)
    )


def on_lambda(executors: Sequence[ExecutorRecord], **changes: Any) -> RunRecord:
    summary = Summary("a", platform="aws", begun=len(executors), where={"region": "eu-south-1"})
    hand_offs = table(GIVEN_COLUMNS, [0, 0, 0, 3, 0, 0, 0, 40])
    return RunRecord(replace(summary, **changes), executors=tuple(executors), hand_offs=hand_offs)


def test_on_lambda_new_environments_and_invokers_are_billed_too() -> None:
    cold = executor("a", "", memory_mb=1024, born=0.5, earlier=0)
    warm = executor("b", "a", memory_mb=1024, born=60.0, earlier=3)
    used = usage_of(on_lambda([cold, warm]))
    assert used.executor_seconds == 1.5 + 0.5 + 1.5
    assert used.executor_requests == 2
    assert used.read_bytes == 2000
    # Of the hand-offs, one is large enough to go through the Invoker.
    assert (used.invoker_requests, used.invoker_seconds) == (1, pytest.approx(40 * 0.0005))


def test_a_record_alone_is_enough_for_a_bill() -> None:
    bill = cost_of(on_lambda([executor("a", "", memory_mb=2048, earlier=1)]))
    compute = {line.what: line for line in bill.lines}["Executor compute"]
    assert compute.quantity == 3.0
    assert compute.dollars == pytest.approx(3 * 0.0000195172)
    assert bill.billed
    elsewhere = {"region": "eu-south-1", "endpoint": "http://localhost:4566"}
    assert not cost_of(on_lambda([executor("a", "")], where=elsewhere)).billed


def test_executors_of_which_nothing_is_known_are_taken_to_be_like_the_others() -> None:
    record = on_lambda([executor("a", "", earlier=1)], begun=3, missing=2)
    assert usage_of(record).executor_seconds == 4.5
    assert usage_of(record).executor_requests == 3


def test_the_sizes_that_are_reckoned_with_are_those_of_the_template() -> None:
    text = (ROOT / "template-bootstrap.yaml").read_text()
    for name, size in ("Executor", EXECUTOR_MEMORY_MB), ("Invoker", INVOKER_MEMORY_MB):
        assert f"  {name}MemorySize:\n    Type: Number\n    Default: {size}\n" in text


def test_every_price_has_its_source_and_its_date() -> None:
    prices = load_prices()
    for service in (prices.lambda_, prices.valkey, prices.s3, prices.dynamodb, prices.transfer):
        assert service.source.startswith("https://aws.amazon.com/")
        assert service.dated > date(2025, 1, 1)


def test_a_table_of_ones_own_takes_the_place_of_the_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = yaml.safe_load(FILE.read_text())
    table["lambda"]["regions"]["us-east-1"]["x86_64"] = 0.5
    mine = tmp_path / "prices.yaml"
    mine.write_text(yaml.safe_dump(table))
    monkeypatch.setenv("WUKONG_PRICES", str(mine))
    monkeypatch.chdir(tmp_path)
    assert tariff_of(wukong.load_config()).gb_second == 0.5


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("lambda: {}", "lambda.source"),
        ("{", "not YAML"),
        (FILE.read_text().replace("us-east-1: {gb_hour", "us-east-2: {gb_hour"), "valkey lacks"),
        (FILE.read_text().replace("0.084", "-1"), "valkey.regions.us-east-1.gb_hour"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=named) as caught:
        load_prices(file)
    assert str(file) in str(caught.value)


def test_a_table_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read"):
        load_prices("none.yaml")


def test_a_run_on_this_machine_says_what_it_would_have_cost(client: wukong.Client) -> None:
    before = client.cost().dollars
    future = client.compute(many(4))
    assert future.result() == 6
    cost = client.cost(future.run)
    assert not cost.billed
    assert cost.headline.startswith("$0 here; on Lambda about $")
    assert "ECPU" in {line.unit for line in cost.lines}, "its store is Valkey"
    compute = {line.what: line for line in cost.lines}["Executor compute"]
    slept = 4 * 0.2 * EXECUTOR_MEMORY_MB / 1024
    assert slept < compute.quantity < 20 * slept
    assert client.cost().dollars == pytest.approx(before + cost.dollars)


def test_the_report_of_a_run_has_its_bill(client: wukong.Client, tmp_path: Path) -> None:
    many(2).compute()
    record = client.record()
    shown = view_of(record, cost_of(record))["cost"]
    assert shown["billed"] is False
    assert shown["dollars"] == pytest.approx(client.cost(record.summary.run).dollars)
    assert client.report(tmp_path / "run.html").exists()


def test_a_run_of_another_client_is_not_known(client: wukong.Client) -> None:
    with pytest.raises(RunError, match="none of this client's"):
        client.cost("0" * 32)


def test_a_run_that_costs_more_than_its_budget_is_stopped(
    client: wukong.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without experience, so that it is not refused.
    monkeypatch.setenv("WUKONG_HOME", str(tmp_path))
    with pytest.raises(BudgetError, match=r"stopped with .* over its budget") as caught:
        many(40).compute(budget=1e-4, progress=False)
    assert "budget=" in caught.value.hint
    assert many(1).compute() == 0, "the client is not harmed"


def test_a_budget_that_is_enough_changes_nothing(client: wukong.Client) -> None:
    assert many(4).compute(budget=1.0) == 6


class Sized(ThreadsPlatform):
    """Threads that are what a deployed function would be."""

    def provision(self) -> Provision:
        return Provision(2048, "arm64", "eu-south-1")


def test_executors_of_another_size_than_asked_for_are_refused_with_a_remedy() -> None:
    platform = Sized("memory://sized", 1)
    ledger = Ledger(wukong.Config())
    options = wukong.Config().run.changed({"memory": 4096})
    with pytest.raises(ConfigError, match=r"4096 MB, and the deployed function has 2048") as caught:
        ledger.check_memory(options, platform)
    assert "wukong deploy -p ExecutorMemorySize=4096" in caught.value.hint
    ledger.check_memory(options.changed({"memory": 2048}), platform)
    assert ledger.tariff().gb_second == 0.0000156138
    platform.close()


def test_on_this_machine_memory_counts_in_what_it_would_cost(client: wukong.Client) -> None:
    future = client.compute(many(2), memory=1024)
    future.result()
    lines = {line.what: line for line in client.cost(future.run).lines}
    other = client.compute(many(2), memory=10_240)
    other.result()
    larger = {line.what: line for line in client.cost(other.run).lines}
    assert larger["Executor compute"].dollars > 3 * lines["Executor compute"].dollars


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"retrys": 1}, "did you mean retries"),
        ({"dead_line": 1}, "did you mean deadline"),
        ({"colour": 1}, "there is no such option"),
        ({"budget": -1}, "option budget: Input should be greater than 0"),
        ({"memory": 12}, "option memory: Input should be greater than or equal to 128"),
        ({"progress": "sometimes"}, "option progress"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(
    client: wukong.Client, option: dict[str, Any], said: str
) -> None:
    for call in (
        lambda: many(1).compute(**option),
        lambda: client.compute(many(1), **option),
        lambda: client.map(abs, [1], **option),
        lambda: client.persist(many(1), **option),
        lambda: wukong.Client(wukong.Config(), **option),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            call()
        assert "max_executors" in caught.value.hint


def test_a_client_shows_where_it_computes_and_what_that_costs(client: wukong.Client) -> None:
    assert f"<wukong.Client on {client.config.platform}, 2 " in repr(client)
    html = client._repr_html_()
    assert "on Lambda $0.000048958 for a second" in html
    assert "a GB-second" in html
    assert "us-east-1" in html


def test_a_client_on_aws_shows_its_functions_and_its_store_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    config = wukong.Config.model_validate(
        {
            "platform": "aws",
            "aws_lambda": {"region": "eu-south-1"},
            "store": {"url": "valkeys://me:secret@cache:6379"},
        }
    )
    client = wukong.Client(config)
    assert repr(client) == (
        "<wukong.Client on aws, eu-south-1, WukongExecutor and WukongInvoker; spent $0>"
    )
    html = client._repr_html_()
    assert "valkeys://me:***@cache:6379" in html
    assert "secret" not in html
    assert "$0.0000195172 a GB-second" in html
    assert "stack app" in repr(wukong.Client(config, stack="app"))


def test_an_emulator_bills_nothing() -> None:
    config = wukong.Config.model_validate(
        {"platform": "aws", "aws_lambda": {"endpoint_url": "http://localhost:4566"}}
    )
    assert not tariff_of(config).billed
    assert "at http://localhost:4566" in repr(wukong.Client(config))


def test_a_future_and_its_run_show_how_far_they_are(client: wukong.Client) -> None:
    future = client.compute(many(10))
    assert future.run in repr(future)
    assert "pending" in repr(future)
    assert future.run in future._repr_html_()
    (run,) = [one for one in client._runs if one.id == future.run]
    assert repr(run).startswith(f"<wukong.Run {future.run} running, ")
    future.result()
    assert repr(future).endswith(" done>")
    assert repr(run) == f"<wukong.Run {future.run} done>"
    assert "on Lambda about $" in run._repr_html_()


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "$0"), (0.0000123, "$0.000012"), (0.1, "$0.10"), (1234.5, "$1,234.50")],
)
def test_small_amounts_can_be_told_from_nothing(amount: float, text: str) -> None:
    assert dollars(amount) == text


def test_a_url_is_shown_without_its_password() -> None:
    assert safe_url("valkeys://:p%40ss@host:1/0") == "valkeys://:***@host:1/0"
    assert safe_url("valkey://host:1") == "valkey://host:1"
