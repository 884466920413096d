"""`wukong demo`: the whole path on this machine, every step checked.

It starts the embedded AWS, deploys the real template, drops packages into the bucket, computes on
the deployed Executors, redeploys, reconfigures and deletes. A step that does not show what it
should ends the demo with an error; nothing is left running either way.
"""

from __future__ import annotations

import operator
import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console
from rich.table import Table

from wukong.cli.deploy import template_file
from wukong.cli.output import Output
from wukong.errors import WukongError
from wukong.packaging.build import build_bootstrap, build_deployment
from wukong.packaging.target import Target
from wukong.stack.cloudformation import Stack
from wukong.stack.embedded import STACK, EmbeddedAws
from wukong.stack.releases import Release, Releases

LIVE_SECONDS = 30.0
NUMBERS = 64
QUIET_SECONDS = 0.5


class DemoError(WukongError):
    """A step of the demo did not show what it should."""


@dataclass
class Story:
    """What happened so far, told as it happens."""

    console: Console
    rows: list[tuple[str, str, float]] = field(default_factory=list)

    def step(self, title: str, act: Callable[[], str]) -> None:
        """Do one step, tell it, and note how long it took."""
        self.console.print(f"[bold]{len(self.rows) + 1}. {title}[/bold]")
        begun = time.monotonic()
        happened = act()
        self.rows.append((title, happened, time.monotonic() - begun))
        self.console.print(f"   {happened}", highlight=False)

    def table(self) -> Table:
        """Give the closing table."""
        table = Table(title="What happened", title_justify="left", show_footer=True)
        table.add_column("step", footer="in all")
        table.add_column("what happened", overflow="fold")
        total = sum(seconds for _, _, seconds in self.rows)
        table.add_column("seconds", justify="right", footer=f"{total:.1f}")
        for title, happened, seconds in self.rows:
            table.add_row(title, happened, f"{seconds:.1f}")
        return table


def demo(out: Output) -> None:
    """Run the demo; raises what its first failing step raises."""
    story = Story(out.console)
    story.console.print(
        "This shows Wukong on one machine: an AWS emulator with IAM enforced runs the real "
        "template and the real zips, against a real Valkey.\n"
    )
    with tempfile.TemporaryDirectory(prefix="wukong-demo-") as folder, EmbeddedAws() as aws:
        left_by = str(aws.log.parent)
        with _environment(aws.environment):
            Demo(story, Path(folder)).play()
    story.step("Stop", lambda: _nothing_left(left_by))
    story.console.print(story.table())
    steps = [
        {"step": title, "happened": happened, "seconds": round(seconds, 3)}
        for title, happened, seconds in story.rows
    ]
    out.give({"steps": steps})


class Demo:
    """The steps between starting and stopping the embedded AWS."""

    def __init__(self, story: Story, folder: Path) -> None:
        self._story = story
        self._folder = folder
        self._target = Target.this_machine()
        self._stack = Stack(STACK)
        self._lambda: Any = boto3.client("lambda")
        self._releases: Releases | None = None

    def play(self) -> None:
        """Do all steps in order."""
        step = self._story.step
        step("Build the packages", self._build)
        step("Deploy the template; the bucket is still empty", self._deploy_template)
        step("Drop deployment.zip into the bucket", self._drop_package)
        step(f"Add {NUMBERS} numbers in a tree, on Executors", self._tree_reduction)
        step("Decompose a tall-and-skinny matrix (SVD)", self._svd)
        step("Drop a changed deployment.zip", self._drop_changed)
        step("Drop the same one again", self._drop_same)
        step("Update the stack: more memory", self._more_memory)
        step("Ask for the status by a manual event", self._status)
        step("Delete the stack", self._delete)

    @property
    def _package(self) -> Path:
        return self._folder / "deployment.zip"

    @property
    def _live(self) -> Releases:
        if self._releases is None:
            self._releases = Releases(self._stack)
        return self._releases

    def _build(self) -> str:
        deployment = build_deployment(self._target, self._package)
        bootstrap = build_bootstrap(self._target, self._folder / "bootstrap.zip")
        return (
            f"deployment.zip has {deployment.size / 1e6:.2f} MB, bootstrap.zip "
            f"{bootstrap.size / 1e6:.2f} MB, for {self._target.runtime} on "
            f"{self._target.architecture}."
        )

    def _deploy_template(self) -> str:
        parameters = {
            "Runtime": self._target.runtime,
            "Architecture": self._target.architecture,
            "StoreUrl": os.environ["WUKONG_STORE_URL"],
            "Embedded": "true",
        }
        self._stack.deploy(template_file(), self._folder / "bootstrap.zip", parameters)
        answer = self._stack.outputs()["DeploymentStatus"]
        _check(answer == "AWAITING_PACKAGE", f"the custom resource answered {answer}")
        return "The stack stands; its custom resource answered AWAITING_PACKAGE."

    def _drop_package(self) -> str:
        release = self._drop(self._package)
        return (
            "The bucket's event made the bootstrap create both functions, ping them and switch "
            f"`live` to Executor version {release.version('executor')} and Invoker version "
            f"{release.version('invoker')}."
        )

    def _tree_reduction(self) -> str:
        from dask.delayed import delayed

        add = delayed(operator.add)
        level: list[Any] = list(range(NUMBERS))
        while len(level) > 1:
            level = list(map(add, level[::2], level[1::2]))
        got, own = self._compute(level[0])
        _check(got == own, f"Wukong has {got}, Dask's own scheduler {own}")
        return f"{got}, as with Dask's own scheduler; {self._invocations()}."

    def _svd(self) -> str:
        import dask.array as da
        import numpy as np

        x = da.random.default_rng(42).random((20_000, 64), chunks=(2_500, 64))
        got, own = self._compute(da.linalg.svd(x)[1])
        _check(bool(np.allclose(got, own)), "the singular values differ from Dask's own")
        return (
            f"20,000 x 64, largest singular value {got[0]:.3f}; all {len(got)} agree with Dask's "
            f"own scheduler; {self._invocations()}."
        )

    def _drop_changed(self) -> str:
        before = self._live.status()
        with zipfile.ZipFile(self._package, "a") as package:
            package.writestr("CHANGES.txt", "A changed package.\n")
        release = self._drop(self._package)
        for component in ("executor", "invoker"):
            old, new = before.version(component), release.version(component)
            _check(old != new, f"the {component} is still version {old}")
        return (
            f"A new release is live: Executor version {release.version('executor')}, Invoker "
            f"version {release.version('invoker')}; the old versions are kept."
        )

    def _drop_same(self) -> str:
        before = self._live.status()
        self._live.upload(self._package)
        answer = self._live.ask({"action": "deploy"})
        _check(answer.status == "UNCHANGED", f"the bootstrap answered {answer.status}")
        after = self._live.status()
        for component in ("executor", "invoker"):
            old, new = before.version(component), after.version(component)
            _check(old == new, f"the {component} went from version {old} to {new}")
        return "UNCHANGED: the code has the same hash, so nothing was published or switched."

    def _more_memory(self) -> str:
        self._stack.deploy(
            template_file(), self._folder / "bootstrap.zip", {"ExecutorMemorySize": "2048"}
        )
        answer = self._stack.outputs()["DeploymentStatus"]
        _check(answer == "CONFIGURATION_CHANGED", f"the custom resource answered {answer}")
        name, _, alias = self._stack.outputs()["ExecutorFunctionName"].partition(":")
        live = self._lambda.get_function_configuration(FunctionName=name, Qualifier=alias)
        _check(live["MemorySize"] == 2048, f"the Executor has {live['MemorySize']} MB")
        return f"CONFIGURATION_CHANGED: Executor version {live['Version']} has 2048 MB."

    def _status(self) -> str:
        release = self._live.status()
        _check(release.status == "LIVE", f"the bootstrap answered {release.status}")
        return f"LIVE: {release.answer['message']}"

    def _delete(self) -> str:
        names = [one["name"] for one in self._live.status().answer["functions"].values()]
        self._stack.delete()
        for name in names:
            _check(not self._exists(name), f"{name} is still there")
        return "The custom resource deleted both functions; the bucket was emptied and deleted."

    def _drop(self, package: Path) -> Release:
        return self._live.wait_until_live(self._live.upload(package), LIVE_SECONDS)

    def _compute(self, collection: Any) -> tuple[Any, Any]:
        from wukong.client import Client

        self._counted = self._count()
        with Client():
            got = collection.compute()
        return got, collection.compute(scheduler="sync")

    def _invocations(self) -> str:
        executors, invokers = (
            now - before for now, before in zip(self._count(), self._counted, strict=True)
        )
        _check(executors > 0 and invokers > 0, f"{executors} Executors, {invokers} Invokers ran")
        return f"{executors} Executor invocations, begun by {invokers} of the Invoker"

    def _count(self) -> tuple[int, int]:
        """Count invocations that have ended; waits until the count no longer changes."""
        count = self._logged()
        while True:
            time.sleep(QUIET_SECONDS)
            before, count = count, self._logged()
            if before == count:
                return count

    def _logged(self) -> tuple[int, int]:
        """Count invocations by what the functions wrote when they began."""
        logs: Any = boto3.client("logs")
        counts = []
        for component, begins in (("executor", '"begins"'), ("invoker", '"invokes"')):
            name = self._live.status().answer["functions"][component]["name"]
            events = logs.filter_log_events(
                logGroupName=f"/aws/lambda/{name}", filterPattern=begins
            )["events"]
            counts.append(len(events))
        return counts[0], counts[1]

    def _exists(self, name: str) -> bool:
        try:
            self._lambda.get_function(FunctionName=name)
        except self._lambda.exceptions.ResourceNotFoundException:
            return False
        return True


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoError(f"the demo's check failed: {otherwise}", "Please report it.")


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for a while; a profile or token of the user's must not get in between."""
    before = dict(os.environ)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "WUKONG_AWS_LAMBDA_ENDPOINT_URL"):
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _nothing_left(folder: str) -> str:
    """Check that no process of the embedded AWS is left: all of them run from its folder."""
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if folder.encode() in told and process.name != str(os.getpid()):
            left.append(process.name)
    _check(not left, f"processes {', '.join(left)} are left")
    return "The embedded AWS has ended; no process and no file of it is left."
