"""The verbs that look at and change a deployed stack, run as programs, on the embedded AWS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dask
import pytest

import wukong
from tests.conftest import until
from wukong.cli.helping import examples_of
from wukong.cli.reference import verbs
from wukong.config import load_config
from wukong.packaging.target import Target
from wukong.stack.cloudformation import Stack
from wukong.storage import open_storage

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.embedded


def run(*words: str, cwd: Path, status: int = 0, **how: Any) -> str:
    """Run a verb; gives what it printed to standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "wukong", *words],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        **how,
    )
    assert done.returncode == status, f"{words}: {done.stdout}\n{done.stderr}"
    return done.stdout


def read(*words: str, cwd: Path, status: int = 0) -> Any:
    """Run a verb with --json; nothing but JSON may be on standard output."""
    return json.loads(run(*words, "--json", cwd=cwd, status=status))


def test_what_is_live_is_told_to_people_and_to_programs(deployed: Stack, tmp_path: Path) -> None:
    assert "LIVE" in run("status", cwd=tmp_path)
    told = read("status", cwd=tmp_path)
    assert told["status"] == "LIVE"
    assert told["functions"]["executor"]["name"] == "WukongExecutor"


def test_a_plan_of_what_is_live_already_changes_nothing(deployed: Stack, tmp_path: Path) -> None:
    told = read("plan", cwd=tmp_path)
    assert told["changes"] == []
    assert told["bootstrap"]


def test_a_plan_names_what_would_change_and_changes_nothing(
    deployed: Stack, tmp_path: Path
) -> None:
    package = tmp_path / "other.zip"
    package.write_bytes(b"other")
    words = ("plan", "-p", "ExecutorMemorySize=2048", "--package", str(package))
    changes = read(*words, cwd=tmp_path)["changes"]
    assert "parameter ExecutorMemorySize: 3008 -> 2048" in changes
    assert any(line.startswith("package: ") for line in changes)
    assert "ExecutorMemorySize: 3008 -> 2048" in run(*words, cwd=tmp_path)
    assert read("plan", cwd=tmp_path)["changes"] == []


def test_a_plan_for_a_stack_that_is_not_there_says_what_it_would_be(
    deployed: Stack, tmp_path: Path
) -> None:
    told = read("plan", "--stack", "fresh", cwd=tmp_path)
    assert told["changes"][0] == "stack fresh would be created"
    assert os.environ["WUKONG_STORE_URL"] not in json.dumps(told)


def test_a_changed_stack_can_be_rolled_back(deployed: Stack, tmp_path: Path) -> None:
    before = read("status", cwd=tmp_path)["release"]["name"]
    told = read("deploy", "-p", "ExecutorMemorySize=2048", cwd=tmp_path)
    assert told["stack_changed"] is True
    after = read("status", cwd=tmp_path)["release"]["name"]
    assert after != before
    history = read("history", cwd=tmp_path)
    assert [one["name"] for one in history["releases"] if one["live"]] == [after]
    assert before in run("history", cwd=tmp_path)
    assert read("rollback", "--to", before, cwd=tmp_path)["status"] == "ROLLED_BACK"
    assert read("status", cwd=tmp_path)["release"]["name"] == before
    assert "differs from what is wanted" in run("status", cwd=tmp_path)
    # As it was, for the tests after this one.
    run("deploy", "-p", "ExecutorMemorySize=3008", cwd=tmp_path)


def test_a_rollback_to_what_is_not_there_is_explained(deployed: Stack, tmp_path: Path) -> None:
    told = read("rollback", "--to", "98.99", cwd=tmp_path, status=1)
    assert told["error"]["kind"] == "ReleaseError"
    assert "NO_SUCH_RELEASE" in told["error"]["message"]


def test_nothing_is_deleted_unless_somebody_says_yes(deployed: Stack, tmp_path: Path) -> None:
    told = read("delete", cwd=tmp_path, status=1)
    assert "nobody to ask" in told["error"]["message"]
    assert read("status", cwd=tmp_path)["status"] == "LIVE"


def test_the_doctor_finds_nothing_wrong(deployed: Stack, tmp_path: Path) -> None:
    told = read("doctor", cwd=tmp_path)
    assert told["problems"] == 0
    assert {"check", "level", "message", "remedy"} == told["findings"][0].keys()
    assert read("doctor", "--stack", "nothing", cwd=tmp_path, status=3)["problems"] == 1


def talk(number: int) -> int:
    print(f"task {number} speaks")  # noqa: T201 - what is looked for in the log
    return number


def test_the_logs_of_a_run_are_its_own_and_whole(client: wukong.Client, tmp_path: Path) -> None:
    other = client.compute(dask.delayed(abs)(-1))
    assert other.result() == 1
    future = client.compute(dask.delayed(sum)([dask.delayed(talk)(i) for i in range(3)]))
    assert future.result() == 3

    def whole() -> Any:
        told = read("logs", future.run[:10], cwd=tmp_path)
        text = "\n".join(event["text"] for event in told["events"])
        ended = text.count("REPORT RequestId") == text.count("START RequestId")
        spoken = all(f"task {number} speaks" in text for number in range(3))
        return told if ended and spoken else None

    told = until(whole, "the log of the run's invocations")
    text = "\n".join(event["text"] for event in told["events"])
    assert other.run not in text
    functions = {event["function"] for event in told["events"]}
    assert functions == {"WukongExecutor", "WukongInvoker"}
    assert "task 2 speaks" in run("logs", future.run, "--follow", cwd=tmp_path)


def test_runs_that_go_on_are_listed_and_can_be_cancelled(
    client: wukong.Client, tmp_path: Path
) -> None:
    future = client.compute(dask.delayed(time.sleep)(60))
    store = open_storage(load_config().store.url or "")
    until(lambda: store.runs() and future.run in store.runs(), "the run in the store")
    store.close()
    told = read("runs", cwd=tmp_path)["runs"]
    assert [one["state"] for one in told if one["run"] == future.run] == ["running"]
    assert future.run[:12] in run("runs", cwd=tmp_path)
    assert "is cancelled" in run("cancel", future.run[:12], cwd=tmp_path)
    with pytest.raises(wukong.WukongError, match="cancelled"):
        future.result()
    gone = read("cancel", "no-such-run", cwd=tmp_path, status=1)
    assert "no run 'no-such-run'" in gone["error"]["message"]


def test_a_script_run_for_a_program_gives_json_only(deployed: Stack, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import dask\nif __name__ == '__main__':\n    print(dask.delayed(abs)(-3).compute())\n"
    )
    told = json.loads(run("run", "--json", "script.py", cwd=tmp_path))
    assert told["platform"] == "aws"
    assert len(told["runs"]) == 1
    assert told["runs"][0] in {one["run"] for one in read("runs", cwd=tmp_path)["runs"]}


def test_a_stack_is_deleted_with_its_packages(deployed: Stack, tmp_path: Path) -> None:
    words = ("-p", "FunctionPrefix=Brief", "-p", "BucketPrefix=brief-packages")
    run("deploy", "--stack", "brief", *words, cwd=tmp_path)
    told = read("delete", "--stack", "brief", "--yes", "--purge", cwd=tmp_path)
    code = [one for one in told["kept"] if "wukong-artifacts" in one]
    assert told == {"stack": "brief", "bucket": told["bucket"], "deleted": True, "kept": code}
    assert "brief-packages" in told["bucket"]
    gone = read("status", "--stack", "brief", cwd=tmp_path, status=1)
    assert "no stack 'brief'" in gone["error"]["message"]


def test_every_example_of_help_works_as_it_stands(client: wukong.Client, tmp_path: Path) -> None:
    """Only names that are the reader's own are replaced, such as a run's."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    future = client.compute(dask.delayed(abs)(-1))
    assert future.result() == 1
    until(lambda: future.run in str(read("runs", cwd=tmp_path)), "its record")
    # Longer than all that comes before its cancellation, on a slow machine too.
    sleeping = client.compute(dask.delayed(time.sleep)(280))
    release = read("status", cwd=tmp_path)["release"]["name"]
    here = Target.this_machine()
    (tmp_path / "few.txt").write_text("idna\n")
    replaced = {
        # The real ones take long; tests/embedded/test_layered.py deploys them.
        "--layers numpy,dask": "--layers few=few.txt",
        "valkeys://my-cache:6379": os.environ["WUKONG_STORE_URL"],
        "python3.13": here.runtime,
        "arm64": here.architecture,
        "8.7": release,
        "cancel 3f2a91": f"cancel {sleeping.run}",
        "3f2a91": future.run,
        " --open": "",
        "delete --stack wukong-app --purge": "delete --stack wukong-app </dev/null || test $? = 1",
    }
    until(lambda: sleeping.run in str(read("runs", cwd=tmp_path)), "the run that is cancelled")
    for words, _, command in verbs():
        for example in examples_of(command.help or ""):
            if words.startswith(("local", "demo")):
                continue  # The README's test and the continuous integration run these.
            for theirs, ours in replaced.items():
                example = example.replace(theirs, ours)  # noqa: PLW2901 - it becomes ours
            done = subprocess.run(
                ["bash", "-c", example],
                cwd=tmp_path,
                env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            assert done.returncode == 0, f"{example}\n{done.stdout}\n{done.stderr}"
    with pytest.raises(wukong.WukongError, match="cancelled"):
        sleeping.result()
