"""What a run takes with it and must find, on the deployed functions: own modules, and packages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import dask
import pytest

import wukong
from wukong.compatibility import SurroundingsError
from wukong.platform.aws import AwsPlatform
from wukong.platform.environment import Environment, Probe
from wukong.platform.probe import environment_here
from wukong.stack.cloudformation import Stack

pytestmark = pytest.mark.embedded

SCRIPT = """
import dask
import helper
from shapes import area

def both(x):
    import late
    return helper.double(x) + late.one() + area(x)

if __name__ == "__main__":
    inner = dask.delayed(helper.double)(7)
    print("got", dask.delayed(both)(inner).compute(), type(helper.make().compute()).__name__)
    assert isinstance(helper.make().compute(), helper.Thing)
"""

HELPER = """
import dask
import deeper

class Thing:
    pass

@dask.delayed(pure=True)
def make():
    return Thing()

def double(x):
    return deeper.times(x, 2)
"""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A script with modules beside it: a chain of imports, a package, and one imported late."""
    write(
        tmp_path / "project",
        {
            "script.py": SCRIPT,
            "helper.py": HELPER,
            "deeper.py": "def times(x, y):\n    return x * y\n",
            "late.py": "def one():\n    return 1\n",
            "shapes/__init__.py": "from .square import area\n",
            "shapes/square.py": (
                "from importlib.resources import files\n"
                "def area(x):\n"
                "    return x ** int(files(__package__).joinpath('power.txt').read_text())\n"
            ),
            "shapes/power.txt": "2",
        },
    )
    return tmp_path / "project"


def wukong_run(script: Path, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "wukong", "run", str(script)],
        cwd=cwd,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_modules_beside_a_script_travel_with_its_runs(
    deployed: Stack, project: Path, tmp_path: Path
) -> None:
    assert "got 225 Thing" in wukong_run(project / "script.py", tmp_path)


def test_a_warm_executor_runs_the_code_that_the_client_has_now(
    deployed: Stack, project: Path, tmp_path: Path
) -> None:
    assert "got 225 " in wukong_run(project / "script.py", tmp_path)
    (project / "deeper.py").write_text("def times(x, y):\n    return x * y + 1\n")
    assert "got 257 " in wukong_run(project / "script.py", tmp_path)


def test_modules_travel_from_an_interactive_session(
    deployed: Stack, project: Path, tmp_path: Path
) -> None:
    typed = (
        "import dask, wukong, helper\n"
        "client = wukong.Client()\n"
        "print('got', dask.delayed(lambda x: helper.double(x))(4).compute(scheduler=client))\n"
        "client.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-i", "-q"],
        input=typed,
        cwd=project,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert "got 8" in done.stdout, done.stderr


def test_an_executor_tells_what_it_runs_on(client: wukong.Client) -> None:
    _, platform = client._connect()
    assert isinstance(platform, AwsPlatform)
    there = platform.ask(platform.targets(), Probe(find=("json", "nothing_of_that_name")))
    here = environment_here()
    assert (there.python, there.release) == (here.python, here.release)
    assert there.versions["dask"] == dask.__version__
    assert {"numpy", "dask", "json"} <= there.modules
    assert "nothing_of_that_name" not in there.modules
    assert there.store is None
    thorough = platform.ask(platform.targets(), Probe(thorough=True))
    assert thorough.store == ""
    assert (thorough.unzipped_bytes or 0) > 100_000
    assert thorough.memory_bytes == 3008 << 20


def test_one_executor_of_each_version_is_asked_once(
    client: wukong.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    ask = AwsPlatform.ask

    def counted(self: AwsPlatform, *arguments: object) -> Environment:
        asked.append(arguments)
        return ask(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(AwsPlatform, "ask", counted)
    with wukong.Client() as other:
        for number in range(3):
            assert dask.delayed(abs)(-number).compute(scheduler=other) == number
    assert len(asked) == 1


def test_a_package_that_executors_lack_is_named_before_anything_is_started(
    deployed: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "site-packages"
    write(installed, {"rare_package/__init__.py": "def f(x):\n    return x\n"})
    monkeypatch.syspath_prepend(str(installed))
    import rare_package  # type: ignore[import-not-found]

    with wukong.Client() as other:
        with pytest.raises(SurroundingsError, match="import rare_package, which") as caught:
            dask.delayed(rare_package.f)(1).compute(scheduler=other)
    assert "--layers" in str(caught.value)
    assert re.search(r"docs/\S+\.md", str(caught.value))


def test_another_dask_here_is_an_error_that_says_what_to_rebuild(
    deployed: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from wukong import submission

    here = environment_here()
    other_versions = replace(here, versions={**here.versions, "dask": "2031.1.0"})
    monkeypatch.setattr(submission, "environment_here", lambda: other_versions)
    with wukong.Client() as other:
        with pytest.raises(SurroundingsError, match=r"dask: 2031\.1\.0 here") as caught:
            dask.delayed(abs)(-1).compute(scheduler=other)
    assert "dask==2031.1.0" in str(caught.value)
