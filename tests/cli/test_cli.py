"""The command line: help for each verb, clear errors, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

VERBS = ["package", "deploy", "status", "run", "demo", "local up", "local env", "local down"]


def wukong(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "wukong", *words],
        cwd=cwd,
        env={**os.environ, "XDG_STATE_HOME": str(cwd), "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_with_an_example(verb: str, tmp_path: Path) -> None:
    done = wukong(*verb.split(), "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Example:" in done.stdout


def test_the_version_is_told(tmp_path: Path) -> None:
    import wukong as package

    assert package.__version__ in wukong("--version", cwd=tmp_path).stdout


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.argv = ['wukong', '--help']\n"
        "from wukong.cli.main import app\n"
        "try: app()\nexcept SystemExit: pass\n"
        "assert not {'boto3', 'dask', 'numpy', 'valkey', 'pydantic'} & set(sys.modules)"
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
