"""Every command of the README is run as it stands there, in the order in which it stands.

Only what names an account of the reader's is replaced: the store, the subnets, the bucket. The two
`make` commands are what CI runs; `sam deploy` needs the SAM CLI, whose pins contradict ours, so of
it only the template is tried, by the transform that the embedded AWS applies.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wukong.packaging.target import Target
from wukong.stack.embedded import ACCOUNT, REGION

ROOT = Path(__file__).parents[2]
BASH = re.compile(r"^ *```bash\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
ANSWERED = ("LIVE", "PLANNED", "ROLLED_BACK")
NOT_RUN_HERE = ("make ", "sam deploy")


def commands(section: str | None = None) -> list[str]:
    """Give the README's shell commands, continued lines joined; of one section, or all."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if section is not None:
        text = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = []
    for block in BASH.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+", " ", line.split("#")[0]).strip()
            if command:
                found.append(command)
    return found


class Shell:
    """A shell whose home is a folder of the test's own, and which stays what commands make it."""

    def __init__(self, home: Path, cwd: Path) -> None:
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "WUKONG_"))},
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CACHE_HOME": str(home / "cache"),
        }
        self._cwd = cwd

    def run(self, command: str) -> str:
        """Run a command; gives what it printed, fails the test if it failed."""
        script = f"set -e\n{command}\nenv -0 > {self._environment['HOME']}/environment"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._cwd,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        saved = Path(self._environment["HOME"], "environment").read_text(encoding="utf-8")
        self._environment = dict(pair.split("=", 1) for pair in saved.split("\0") if pair)
        return done.stdout

    def __getitem__(self, variable: str) -> str:
        return self._environment[variable]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell in a folder with what a checkout has."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("examples", "template-bootstrap.yaml"):
        (checkout / name).symlink_to(ROOT / name)
    shell = Shell(tmp_path, checkout)
    yield shell
    shell.run("wukong local down")


def test_every_command_of_the_readme_is_run_by_a_test_or_by_ci() -> None:
    run = [
        *commands("Use it from Dask"),
        *commands("The embedded AWS, at your own pace"),
        *commands("On AWS"),
        *commands("Three ways to redeploy"),
    ]
    assert set(commands()) - set(run) == {"make demo", "make test"}


def test_the_python_of_the_readme_runs(shell: Shell, tmp_path: Path) -> None:
    printed = []
    for block in PYTHON.findall((ROOT / "README.md").read_text(encoding="utf-8")):
        (tmp_path / "checkout" / "readme.py").write_text(block)
        printed.append(shell.run("python readme.py"))
    values, squares = printed
    assert len(re.findall(r"\d+\.\d+", values)) == 100, "a hundred singular values"
    assert sorted(map(int, squares.split())) == [number**2 for number in range(10)]
    for command in commands("Use it from Dask"):
        assert "checksum" in shell.run(command)


@pytest.mark.embedded
def test_the_commands_for_the_embedded_aws_work_in_order(shell: Shell) -> None:
    *first, status, doctor, down = commands("The embedded AWS, at your own pace")
    for command in first:
        printed = shell.run(command)
    assert "sum=32640" in printed, "of 256 numbers, on the deployed Executors"
    assert "LIVE" in shell.run(status)
    assert "0 problems" in shell.run(doctor)
    assert "has ended" in shell.run(down)


@pytest.mark.embedded
def test_the_commands_for_aws_and_the_ways_to_redeploy_work_in_order(shell: Shell) -> None:
    shell.run("wukong local up")
    shell.run('eval "$(wukong local env)"')
    shell.run("aws s3 mb s3://my-bucket")
    shell.run("echo idna > few.txt")
    here = Target.this_machine()

    def adapted(command: str) -> str:
        command = re.sub(r" -p (SubnetIds|SecurityGroupIds|ExecutorLayers)=\S+", "", command)
        if "cloudformation deploy" in command:
            command += " Embedded=true"
        for theirs, ours in {
            "MY-BUCKET": "my-bucket",
            # Those are large; tests/embedded/test_layered.py deploys them.
            "--layers numpy,scipy,dask": "--layers few=few.txt",
            "ACCOUNT-REGION": f"{ACCOUNT}-{REGION}",
            "python3.13": here.runtime,
            "arm64": here.architecture,
        }.items():
            command = command.replace(theirs, ours)
        return command

    ran = [
        (command, shell.run(adapted(command)))
        for command in [*commands("On AWS"), *commands("Three ways to redeploy")]
        if not command.startswith(NOT_RUN_HERE)
    ]
    assert len(ran) == 12
    answers = [next(out for _, out in ran if f'"status": "{word}"' in out) for word in ANSWERED]
    assert len(set(answers)) == len(ANSWERED)
    redeployed = next(out for command, out in ran if "ExecutorMemorySize=2048" in command)
    assert "LIVE" in redeployed or "CHANGED" in redeployed
