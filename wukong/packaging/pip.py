"""The one place that runs pip: wheels for a target, chosen, fetched, or unpacked into a folder.

Only wheels, never a build: what a build gives depends on the machine that builds. Indexes, mirrors
and credentials are those of the user's own pip.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wukong.errors import WukongError
from wukong.packaging.target import Target

SECONDS = 300
_LINES = 20


class PipError(WukongError):
    """pip is not there, or did not end in time."""


class PipRefusedError(WukongError):
    """pip ended with an error.

    Attributes
    ----------
    said
        All that it wrote.
    """

    def __init__(self, target: Target, status: int, said: str) -> None:
        super().__init__(
            f"no wheels for {target}: pip ended with {status}\n{_tail(said)}",
            "Choose another runtime or processor, or versions that have wheels for it.",
        )
        self.said = said


def install(pins: Sequence[str], target: Target, tree: Path) -> None:
    """Unpack the wheels of some distributions into a folder, without what they require.

    Raises
    ------
    PipError, PipRefusedError
    """
    _run(
        ("install", "--target", str(tree), "--no-deps", "--no-compile", *options(target), *pins),
        target,
    )


def choose(requirements: Sequence[str], constraints: Path, target: Target) -> list[Any]:
    """Say which wheels fulfil requirements and all that these require; nothing is installed.

    Gives the items of pip's installation report.
    https://pip.pypa.io/en/stable/reference/installation-report/

    Raises
    ------
    PipError, PipRefusedError
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        _run(
            (
                *("install", "--dry-run", "--ignore-installed", "--report", str(report)),
                # Nothing goes there, but without it pip takes no platform before its version 24.
                *("--target", folder, "--constraint", str(constraints)),
                *options(target),
                *requirements,
            ),
            target,
        )
        items: list[Any] = json.loads(report.read_text(encoding="utf-8"))["install"]
    return items


def download(requirements: Path, target: Target, folder: Path) -> None:
    """Fetch the wheels that a requirements file names, each with its hash, into a folder.

    Raises
    ------
    PipError, PipRefusedError
    """
    _run(
        (
            *("download", "--no-deps", "--require-hashes", "--dest", str(folder)),
            *options(target),
            *("--requirement", str(requirements)),
        ),
        target,
    )


def options(target: Target) -> tuple[str, ...]:
    """Give what makes pip choose wheels that the target can load."""
    if target.is_local:
        return ("--only-binary=:all:",)
    platforms = (word for tag in target.platforms for word in ("--platform", tag))
    python = ("--implementation", "cp", "--python-version", target.python)
    return ("--only-binary=:all:", *python, *platforms)


def _tail(output: str) -> str:
    """Give the end of what pip said, where the reason stands, in whole lines."""
    return "\n".join(output.strip().splitlines()[-_LINES:])


def _run(arguments: Sequence[str], target: Target) -> None:
    # Not --quiet: then it does not say who wants what when requirements conflict.
    plain = ("--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar", "off")
    command = [sys.executable, "-m", "pip", arguments[0], *plain, *arguments[1:]]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, env=_plain(), check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PipError(
            f"no wheels for {target}: pip did not finish in {SECONDS} seconds",
            "Look at the connection to the package index, then try again.",
        ) from error
    if "No module named pip" in done.stderr:
        raise PipError(
            f"wheels for {target} are fetched by pip, which {sys.executable} does not have",
            "Install it: python -m ensurepip.",
        )
    if done.returncode:
        raise PipRefusedError(target, done.returncode, done.stdout + done.stderr)


def _plain() -> Mapping[str, str]:
    """Give pip our environment, without what would make it install somewhere else."""
    elsewhere = {"PIP_TARGET", "PIP_USER", "PIP_PREFIX", "PIP_ROOT"}
    return {name: value for name, value in os.environ.items() if name not in elsewhere}
