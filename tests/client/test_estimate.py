"""What a run is likely to take, before it begins: learnt from real runs, and from made-up ones."""

from __future__ import annotations

import operator
import time
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import pytest

import wukong
from wukong import history
from wukong.config import ConfigError
from wukong.cost import Tariff
from wukong.estimate import Conditions, Estimate, estimate, graph_of, size
from wukong.experience import Experience, Range, learn, parts_of, recall
from wukong.ledger import BudgetError
from wukong.record import ExecutorRecord, Outline, RunRecord, Summary
from wukong.storage.notes import Place, Way, table


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without experience."""
    monkeypatch.setenv("WUKONG_HOME", str(tmp_path))


@pytest.fixture(params=["threads", "local"])
def client(request: pytest.FixtureRequest) -> Iterator[wukong.Client]:
    with wukong.Client(wukong.Config(), platform=request.param, workers=2) as client:
        yield client


@dask.delayed(pure=True)
def doze(number: int) -> int:
    time.sleep(0.1)
    return number


def naps(many: int) -> Any:
    return dask.delayed(sum)([doze(number) for number in range(many)])


def test_an_estimate_counts_what_a_run_will_have(client: wukong.Client) -> None:
    x = da.ones((400, 100), chunks=(100, 100)) + 1
    found = client.estimate(x)
    assert (found.tasks, found.leaves) == (4, 4)
    assert found.at_once == 2
    assert found.result_bytes == 400 * 100 * 8
    assert 0 < found.seconds.low < found.seconds.likely < found.seconds.high
    assert 0 < found.dollars.low < found.dollars.likely < found.dollars.high
    assert client._storage is None, "nothing was started"


def test_without_experience_an_estimate_says_that_it_is_a_guess(client: wukong.Client) -> None:
    found = client.estimate(naps(8))
    assert (found.known, found.runs) == (0.0, 0)
    assert "this is a guess" in repr(found)
    assert found.seconds.high > 50 * found.seconds.low


def test_a_run_teaches_what_its_kinds_of_tasks_take(client: wukong.Client) -> None:
    before = client.estimate(naps(40))
    assert naps(8).compute() == 28
    assert client.record().summary.outcome == "done"
    client._keeper.wait()
    found = client.estimate(naps(40))
    assert (found.known, found.runs) == (1.0, 1)
    # Forty naps of 0.1 s on two workers.
    assert found.seconds.likely > 2.0
    assert found.seconds.low < 3.0 < found.seconds.high
    assert found.dollars.high / found.dollars.low < before.dollars.high / before.dollars.low
    assert "100% of the tasks are of kinds that an earlier run had" in repr(found)


def test_what_one_platform_teaches_is_not_told_of_another(client: wukong.Client) -> None:
    assert naps(2).compute() == 1
    client._keeper.wait()
    assert recall(client.config.platform).runs == 1
    assert recall("aws").runs == 0


def test_a_run_that_cannot_be_had_for_its_budget_is_refused(client: wukong.Client) -> None:
    assert naps(4).compute() == 6
    client._keeper.wait()
    with pytest.raises(BudgetError) as caught:
        naps(4000).compute(budget=0.0001)
    message = str(caught.value)
    assert "likely to cost $" in message
    assert "its budget is $0.00010; nothing was started" in message
    assert "client.estimate(x)" in message
    assert len(list(history.summaries())) == 1


def test_a_budget_of_a_client_holds_for_all_its_runs() -> None:
    with wukong.Client(wukong.Config(), platform="threads", budget=1e-9):
        with pytest.raises(BudgetError, match="nothing was started"):
            naps(2).compute()
        assert naps(2).compute(budget=1.0) == 1


def test_several_collections_are_estimated_together(client: wukong.Client) -> None:
    found = client.estimate([naps(2), naps(3)])
    assert found.tasks == 3 + 2, "they have their naps in common"


def test_an_estimate_takes_the_options_of_a_run(client: wukong.Client) -> None:
    assert client.estimate(naps(8), max_executors=1).at_once == 1
    small, large = (client.estimate(naps(8), memory=memory) for memory in (1024, 10_240))
    assert large.dollars.likely > small.dollars.likely
    with pytest.raises(ConfigError, match="did you mean memory"):
        client.estimate(naps(8), memry=1)


def made_up(kinds: dict[str, list[float]], run: str = "a", rest: float = 0.0) -> RunRecord:
    """Make a record of segments that are made up so and took so many seconds."""
    cells, kind = [], []
    for number, times in enumerate(kinds.values()):
        for seconds in times:
            cells += [0, len(kind), 0, 0, 0, 0, 0, seconds, 0, 0, 0, 100, 0]
            kind.append(number)
    columns = {"executor": "I", **dict.fromkeys(STEPS, "f")}
    total = sum(map(sum, kinds.values())) + rest * len(kind)
    executor = ExecutorRecord("t", "", "leaf", 0, (), 0, Place(), 0.0, total, None, (0,) * len(Way))
    return RunRecord(
        Summary(run, platform="local", segments=len(kind), begun=1),
        Outline(kinds=tuple(kinds), kind=array("I", kind)),
        (executor,),
        table(columns, cells),
    )


STEPS = (
    *("segment", "lineage", "ready", "began", "fetch", "computing", "compute"),
    *("pack", "arrive", "arrived", "written", "inputs"),
)


def test_kinds_are_read_as_they_are_written() -> None:
    assert parts_of("sum 15, random") == {"sum": 15, "random": 1}
    assert parts_of("read csv") == {"read csv": 1}
    assert parts_of("x 0") == {"x": 0}


def test_what_tasks_take_is_found_from_segments_of_several() -> None:
    found = learn([made_up({"a 2, b": [5.0] * 4, "a, b 2": [7.0] * 4})])
    assert found.tasks["a"].likely == pytest.approx(1.0, rel=0.05)
    assert found.tasks["b"].likely == pytest.approx(3.0, rel=0.05)
    assert found.seconds("a 2, b").likely == pytest.approx(5.0)
    assert found.seconds("a 10").likely == pytest.approx(10.0, rel=0.05)
    assert found.known("a 3, c 2") == 3


def test_the_first_of_a_kind_in_a_process_teaches_only_where_it_is_the_only_one() -> None:
    found = learn([made_up({"a": [9.0, 1.0, 1.0], "b": [7.0]})])
    assert found.seconds("a").likely == pytest.approx(1.0)
    assert found.seconds("b").likely == pytest.approx(7.0)


def test_runs_that_differ_make_a_range_wide() -> None:
    alike = learn([made_up({"a": [1.0]}), made_up({"a": [1.05]}, "b")]).seconds("a")
    differ = learn([made_up({"a": [1.0]}), made_up({"a": [3.0]}, "b")]).seconds("a")
    assert alike.high / alike.low < differ.high / differ.low
    assert differ.low < 1.0
    assert differ.high > 3.0


def test_what_executors_do_besides_is_counted_by_the_segment() -> None:
    assert learn([made_up({"a": [1.0] * 4}, rest=0.25)]).rest.likely == pytest.approx(0.25)


def known(seconds: float) -> Experience:
    """Know of additions, exactly."""
    exact = Range(seconds, seconds, seconds)
    return Experience(1, tasks={"add": exact}, rest=Range(0.0, 0.0, 0.0))


def of(collection: Any, workers: int | None, most: int = 0) -> Estimate:
    return estimate(graph_of(collection), Conditions(Tariff(), workers, most), known(1.0))


def chain(length: int, start: int = 0) -> Any:
    value = dask.delayed(start)
    for _ in range(length):
        value = dask.delayed(operator.add, pure=False)(value, 1)
    return value


def test_a_chain_takes_as_long_however_many_workers_there_are() -> None:
    assert of(chain(10), 1).seconds.likely == pytest.approx(10, rel=0.01)
    assert of(chain(10), 8).seconds.likely == pytest.approx(10, rel=0.01)


def test_chains_side_by_side_share_the_workers() -> None:
    chains = [chain(10, number) for number in range(8)]
    assert of(chains, 8).seconds.likely == pytest.approx(10, rel=0.01)
    two = of(chains, 2)
    assert two.seconds.likely == pytest.approx(40, rel=0.01)
    assert two.seconds.high == pytest.approx(40 + 10 / 2, rel=0.03), "Graham's bound"
    assert of(chains, None, most=4).seconds.low == pytest.approx(20, rel=0.01)
    assert two.dollars.likely == pytest.approx(of(chains, 8).dollars.likely, rel=0.01)


def test_with_dynamodb_an_estimate_counts_units_and_objects() -> None:
    outputs = {"int, add 10": Range(1000, 2000, 8000)}
    experience = replace(known(1.0), outputs=outputs, reads=0.5)
    conditions = Conditions(Tariff(store="dynamodb"))
    found = estimate(graph_of([chain(10, number) for number in range(8)]), conditions, experience)
    lines = {line.what: line.quantity for line in found.cost.lines}
    assert lines["table writes"] == pytest.approx(8 * 12 + 8 * 2000 / 1024 * 3)
    assert "bucket writes" not in lines, "2,000 bytes are in the item"
    assert found.dollars.low <= found.dollars.likely <= found.dollars.high
    large = replace(experience, outputs={"int, add 10": Range(5000, 8000, 9000)})
    lines = {
        line.what: line.quantity
        for line in estimate(
            graph_of([chain(10, number) for number in range(8)]), conditions, large
        ).cost.lines
    }
    assert (lines["bucket writes"], lines["bucket reads"]) == (8, 4)


def test_on_lambda_a_fan_out_has_an_executor_for_each_child() -> None:
    first = chain(1)
    wide = dask.delayed(sum)([dask.delayed(operator.add, pure=False)(first, n) for n in range(10)])
    found = of(wide, None)
    assert (found.leaves, found.executors) == (1, 10)
    assert found.cost.billed
    assert found.seconds.high - found.seconds.likely > 2, "it may have to wait for cold starts"


def test_an_estimate_is_shown_as_a_table(client: wukong.Client) -> None:
    html = client.estimate(naps(8))._repr_html_()
    assert "costs nothing here; on Lambda" in html
    assert "9 in 9 segments, 8 leaves" in html


@pytest.mark.parametrize(
    ("amount", "text"), [(12, "12 bytes"), (2048, "2.0 KB"), (3 * 1024**4, "3.0 TB")]
)
def test_bytes_are_written_as_people_read_them(amount: int, text: str) -> None:
    assert size(amount) == text
