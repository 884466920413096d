"""The command line: help for each verb, clear errors, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wukong.cli.reference import verbs

VERBS = [words for words, _, _ in verbs()]


def wukong(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wukong", *words],
        cwd=cwd,
        env={
            **os.environ,
            "XDG_STATE_HOME": str(cwd),
            "WUKONG_HOME": str(cwd),
            "COLUMNS": "200",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_with_an_example(verb: str, tmp_path: Path) -> None:
    done = wukong(*verb.split(), "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Example:\n  " in done.stdout
    assert "wukong" in done.stdout.split("Example:")[1]
    assert "Traceback" not in done.stderr


def test_help_shows_the_groups_of_verbs_and_fits_a_narrow_terminal(tmp_path: Path) -> None:
    printed = wukong("--help", cwd=tmp_path, COLUMNS="60").stdout
    groups = [line for line in printed.splitlines() if line.endswith(":") and line[0] != " "]
    assert groups == ["Deploy:", "Compute:", "Look:", "This machine:", "Options:"]
    assert max(map(len, printed.splitlines())) <= 60


def test_the_version_is_told(tmp_path: Path) -> None:
    import wukong as package

    assert package.__version__ in wukong("--version", cwd=tmp_path).stdout


# `config` takes an option itself, and to check its value the library loads pydantic.
@pytest.mark.parametrize("verb", ["", *(one for one in VERBS if not one.startswith("config "))])
def test_help_loads_nothing_heavy(verb: str) -> None:
    code = (
        f"import sys\nsys.argv = ['wukong', *{verb.split()}, '--help']\n"
        "from wukong.cli.main import app\n"
        "try: app()\nexcept SystemExit: pass\n"
        "heavy = {'boto3', 'dask', 'numpy', 'valkey', 'pydantic', 'rich', 'yaml'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["package", "--runtime", "python2.7"], "runtime: 'python2.7'", "python3.11"),
        (["deploy", "-p", "Memory"], "--parameter 'Memory'", "template"),
        (["run", "no.py"], "no.py: no such script", "path"),
        (["local", "env"], "the embedded AWS is not up", "wukong local up"),
        (["cancel", "abc"], "no store.url is configured", "WUKONG_STORE_URL"),
        (["logs", "abc"], "no run 'abc'", "wukong runs"),
        (["report", "abc"], "no run 'abc' is kept", "No run is kept"),
        (["config", "check", "no.yaml"], "no.yaml: cannot be read", "path"),
    ],
)
def test_an_error_is_one_message_with_a_hint_and_status_1(
    words: list[str], message: str, hint: str, tmp_path: Path
) -> None:
    done = wukong(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    if words[0] != "run":
        told = json.loads(wukong(*words, "--json", cwd=tmp_path).stdout)["error"]
        assert message in told["message"]
        assert hint in told["hint"]
        assert told["kind"].endswith("Error")


def test_a_wrong_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "wukong-config.yaml").write_text("run: {max_executors: many}")
    (tmp_path / "script.py").write_text("print('never')")
    done = wukong("run", "script.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "run.max_executors" in done.stderr


def test_a_wrong_option_is_status_2(tmp_path: Path) -> None:
    assert wukong("status", "--nonsense", cwd=tmp_path).returncode == 2


def test_aws_that_cannot_be_reached_is_a_clear_error(tmp_path: Path) -> None:
    done = wukong(
        "status",
        cwd=tmp_path,
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
        AWS_ACCESS_KEY_ID="key",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_MAX_ATTEMPTS="1",
    )
    assert done.returncode == 1
    assert "AWS cannot be asked" in done.stderr


def test_a_script_gets_its_arguments_and_its_own_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "helper.py").write_text("def double(x):\n    return 2 * x\n")
    (folder / "script.py").write_text(
        "import sys, dask, helper\n"
        "def triple(x):\n    return 3 * x\n"
        "if __name__ == '__main__':\n"
        "    print(sys.argv[1:], dask.delayed(triple)(dask.delayed(helper.double)(7)).compute())\n"
    )
    done = wukong("run", "--local", "folder/script.py", "--local", "-x", cwd=tmp_path)
    assert done.stdout.strip() == "['--local', '-x'] 42", done.stderr


def test_a_failing_task_ends_a_script_with_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import dask\ndef broken():\n    return 1 / 0\n"
        "if __name__ == '__main__':\n    dask.delayed(broken)().compute()\n"
    )
    done = wukong("run", "--local", "script.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "return 1 / 0" in done.stderr
    assert "task 'broken-" in done.stderr


def read(*words: str, cwd: Path, **environment: str) -> Any:
    """Run a verb with --json; nothing but JSON may be on standard output."""
    done = wukong(*words, "--json", cwd=cwd, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_completion_knows_verbs_and_options(tmp_path: Path) -> None:
    asked = {"_WUKONG_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    found = wukong("", cwd=tmp_path, COMP_WORDS="wukong ro", **asked).stdout.split()
    assert found == ["rollback"]
    asked["COMP_CWORD"] = "2"
    found = wukong("", cwd=tmp_path, COMP_WORDS="wukong rollback --f", **asked).stdout.split()
    assert found == ["--force"]


@pytest.mark.parametrize("option", ["--install-completion", "--show-completion"])
def test_completion_is_installed_for_the_shell_in_use(option: str, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        # Not the last command, so that it is a child of the shell and does not take its place.
        ["bash", "-c", f"wukong {option}; true"],
        env={**os.environ, "HOME": str(tmp_path), "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    written = [file.read_text() for file in tmp_path.rglob("*") if file.is_file()]
    assert "_WUKONG_COMPLETE" in "".join([done.stdout, *written]), done.stderr


def test_the_configuration_is_shown_with_where_each_value_comes_from(tmp_path: Path) -> None:
    (tmp_path / "wukong-config.yaml").write_text("run: {max_executors: 7}\n")
    shown = read("config", cwd=tmp_path, WUKONG_STORE_URL="valkeys://u:secret@host:1")["config"]
    assert shown["run.max_executors"] == {"value": 7, "from": "wukong-config.yaml"}
    assert shown["store.url"] == {"value": "valkeys://***@host:1", "from": "WUKONG_STORE_URL"}
    assert shown["platform"] == {"value": "local", "from": "default"}
    printed = wukong("config", cwd=tmp_path).stdout
    assert "run.max_executors" in printed
    assert "wukong-config.yaml" in printed


def test_a_configuration_that_was_begun_has_every_key_and_changes_nothing(tmp_path: Path) -> None:
    import yaml

    from wukong.config import Config, load_config

    assert read("config", "init", cwd=tmp_path) == {"file": "wukong-config.yaml"}
    text = (tmp_path / "wukong-config.yaml").read_text()
    assert load_config(tmp_path / "wukong-config.yaml", {}) == Config()
    # Comments explain; without their marks, the file says what holds anyway.
    bare = "\n".join(line.removeprefix("# ") for line in text.splitlines()[4:])
    assert Config.model_validate(yaml.safe_load(bare)) == Config()
    assert yaml.safe_load(bare).keys() == Config.model_fields.keys()
    assert wukong("config", "init", cwd=tmp_path).returncode == 1
    assert wukong("config", "init", "--force", cwd=tmp_path).returncode == 0


def test_a_configuration_is_checked(tmp_path: Path) -> None:
    told = read("config", "check", cwd=tmp_path)
    assert told == {"file": "wukong-config.yaml", "valid": True, "platform": "local"}
    (tmp_path / "other.yaml").write_text("run: {max_executor: 7}\n")
    done = wukong("config", "check", "other.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert "run.max_executor" in done.stderr


def test_the_doctor_has_a_status_of_its_own_for_problems(tmp_path: Path) -> None:
    told = read("doctor", "--local", cwd=tmp_path)
    assert (told["problems"], told["findings"][0]["check"]) == (0, "configuration")
    done = wukong("doctor", cwd=tmp_path, WUKONG_STORE_URL="valkey://127.0.0.1:9")
    assert done.returncode == 3
    assert "problem" in done.stdout
    assert "->" in done.stdout
    (tmp_path / "wukong-config.yaml").write_text("platform: moon\n")
    done = wukong("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 3
    assert json.loads(done.stdout)["findings"][0]["check"] == "configuration"


def test_a_run_of_this_machine_is_listed_and_has_no_logs(tmp_path: Path) -> None:
    home = {"WUKONG_HOME": str(tmp_path / "home")}
    assert read("runs", cwd=tmp_path, **home) == {"runs": []}
    (tmp_path / "script.py").write_text(
        "import dask\nif __name__ == '__main__':\n    print(dask.delayed(abs)(-3).compute())\n"
    )
    done = wukong("run", "--local", "--json", "script.py", cwd=tmp_path, **home)
    told = json.loads(done.stdout)
    assert done.stderr.strip().endswith("3"), "what it prints is still seen"
    (run,) = told["runs"]
    (listed,) = read("runs", cwd=tmp_path, **home)["runs"]
    assert (listed["run"], listed["state"], listed["platform"]) == (run, "done", "local")
    assert run[:12] in wukong("runs", cwd=tmp_path, **home).stdout
    told = read("report", run[:8], cwd=tmp_path, **home)
    assert (told["run"], told["file"]) == (run, f"wukong-{run[:8]}.html")
    assert "<html" in (tmp_path / told["file"]).read_text()[:500].lower()
    assert wukong("report", run, "--out", "no/x.html", cwd=tmp_path, **home).returncode == 1
    done = wukong("logs", run[:8], cwd=tmp_path, **home)
    assert done.returncode == 1
    assert "ran on this machine" in done.stderr


def test_the_embedded_aws_that_is_not_up_is_said_to_be_so(tmp_path: Path) -> None:
    assert read("local", "status", cwd=tmp_path) == {"up": False, "used_here": False}
    assert "not up" in wukong("local", "status", cwd=tmp_path).stdout
    assert read("local", "down", cwd=tmp_path) == {"ended": False}
