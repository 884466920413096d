"""What a deployment costs beyond its own calls of AWS, and what the bootstrap's start costs.

Method: the real template is deployed to the embedded AWS, with its bucket's notifications switched
off. Then the handler runs in this process, with the environment that the template gives it and the
credentials of its own role, whose policy the emulator enforces. The calls that it makes and the
waits between them are recorded; boto3 alone repeats just these, from the same state, with the
revision ids that it gets itself. It makes its clients too, one for each service. Both take turns;
the first round only warms up; the median of the others counts.
Then fresh processes start the bootstrap from its unpacked zip, beside this interpreter's boto3; the
peak of memory is that of a process which also created both functions (read from Linux's /proc).

Target: each case adds less than 10 % plus 300 ms; less than 256 MB; a zip of less than 4 MB.

    python benchmarks/deploying.py [rounds]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import boto3
from botocore import xform_name
from botocore.exceptions import ClientError

from wukong.cli.deploy import template_file
from wukong.packaging.archive import Archive
from wukong.packaging.build import build_bootstrap, build_deployment
from wukong.packaging.target import Target
from wukong.stack.cloudformation import Stack
from wukong.stack.embedded import STACK, EmbeddedAws

ALLOWED_SHARE, ALLOWED_SECONDS = 0.10, 0.300
ALLOWED_ZIP_BYTES = 4_000_000
ALLOWED_MEMORY, MEGABYTE = 256, 1 << 20
STARTS = 7
POLL_SECONDS = 0.25


@dataclass
class Call:
    """One call to AWS, and the answer to it."""

    service: str
    method: str
    arguments: dict[str, Any]
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether AWS refused it; "there is no such function" is an answer too."""
        return bool(self.answer["ResponseMetadata"]["HTTPStatusCode"] >= 300)


Step = Call | float
"""A call, or the seconds of a wait."""


@dataclass
class Place:
    """Where the deployments go, as root sees it."""

    bucket: str
    key: str
    executor: str
    arn: str
    packages: tuple[bytes, bytes]
    s3: Any
    versions: list[str] = field(default_factory=list)

    @classmethod
    def build(cls, folder: Path, bootstrap_zip: Archive) -> Self:
        """Deploy the template, and let this process be the bootstrap function."""
        here = Target.this_machine()
        stack = Stack(STACK)
        parameters = {"Runtime": here.runtime, "Architecture": here.architecture}
        stack.deploy(template_file(), bootstrap_zip.path, {**parameters, "Embedded": "true"})
        outputs = stack.outputs()
        bucket = outputs["PackageBucketName"]
        s3: Any = boto3.client("s3")
        # Or each upload would deploy there as well.
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
        function = boto3.client("lambda").get_function_configuration(
            FunctionName=outputs["BootstrapFunctionName"]
        )
        variables = function["Environment"]["Variables"]
        os.environ.update(variables, **_credentials(function["Role"]))
        return cls(
            bucket=bucket,
            key=outputs["PackageKey"],
            arn=function["FunctionArn"],
            executor=variables["WUKONG_EXECUTOR_FUNCTION_NAME"],
            packages=_packages(build_deployment(here, folder / "deployment.zip").path),
            s3=s3,
        )

    def upload(self, package: int) -> None:
        """Upload one of the packages."""
        answer = self.s3.put_object(
            Bucket=self.bucket,
            Key=self.key,
            Body=self.packages[package],
            ChecksumAlgorithm="SHA256",
        )
        self.versions.append(answer["VersionId"])

    def event(self, upload: int) -> dict[str, Any]:
        """Give the notification of an upload, as S3 writes it."""
        told = {"key": self.key, "versionId": self.versions[upload]}
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": self.bucket}, "object": told},
        }
        return {"Records": [record]}


@dataclass(frozen=True)
class Case:
    """One event, sent when all cases before it have been."""

    name: str
    expected: str
    event: Callable[[Place], dict[str, Any]]
    upload: int | None = None


MORE_MEMORY = {"action": "deploy", "executor": {"memory_size": 4096}}
CASES = (
    Case("create", "CREATED", lambda place: place.event(-1), upload=0),
    Case("code change", "CODE_CHANGED", lambda place: place.event(-1), upload=1),
    Case("configuration change", "CONFIGURATION_CHANGED", lambda _: MORE_MEMORY),
    Case("nothing changed", "UNCHANGED", lambda _: MORE_MEMORY),
    Case("stale event", "STALE", lambda place: place.event(-2)),
    Case("rollback", "ROLLED_BACK", lambda _: {"action": "rollback"}),
    Case("delete", "DELETED", lambda place: {"action": "delete", "confirm": place.executor}),
)


def _credentials(role_arn: str) -> dict[str, str]:
    """Give a role's credentials, as variables; its policy lets only Lambda have them."""
    trusted = {"Service": "lambda.amazonaws.com", "AWS": role_arn.split(":")[4]}
    trust = {"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole"}
    boto3.client("iam").update_assume_role_policy(
        RoleName=role_arn.rpartition("/")[2],
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    sts = boto3.client("sts")
    given = sts.assume_role(RoleArn=role_arn, RoleSessionName="benchmark")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
        "AWS_SESSION_TOKEN": given["SessionToken"],
    }


def _packages(package: Path) -> tuple[bytes, bytes]:
    """Give the real package, and one that differs from it."""
    changed = io.BytesIO(package.read_bytes())
    with zipfile.ZipFile(changed, "a") as archive:
        archive.writestr("CHANGES.txt", "A changed package.\n")
    return package.read_bytes(), changed.getvalue()


class Bootstrap:
    """The handler in this process, whose calls and waits are recorded."""

    def __init__(self, arn: str) -> None:
        self._arn = arn
        self._steps: list[Step] = []
        # Its log goes to the standard output of the time when it is imported.
        self._log = Path(os.devnull).open("w")  # noqa: SIM115 - as long as this process
        boto3.setup_default_session()
        events = boto3._get_default_session().events
        events.register("provide-client-params", self._begin)
        events.register("after-call", self._end)
        with contextlib.redirect_stdout(self._log):
            from bootstrap.deadline import Deadline
            from bootstrap.function import lambda_handler
        self._handler: Any = lambda_handler
        patched: Any = Deadline
        slept = patched.sleep

        def sleep(deadline: Deadline, seconds: float, *waiting_for: str) -> None:
            self._steps.append(seconds)
            slept(deadline, seconds, *waiting_for)

        patched.sleep = sleep

    def _begin(self, params: Any, model: Any, context: Any, **_: object) -> None:
        call = Call(model.service_model.service_name, xform_name(model.name), dict(params))
        context["recorded"] = call
        self._steps.append(call)

    def _end(self, parsed: Any, context: Any, **_: object) -> None:
        context["recorded"].answer = parsed

    def run(self, event: Mapping[str, Any]) -> tuple[float, str, list[Step]]:
        """Send an event; gives the seconds, the answer's status and what was done meanwhile."""
        self._steps = []
        context = SimpleNamespace(
            aws_request_id=str(uuid.uuid4()),
            function_name="WukongBootstrap",
            invoked_function_arn=self._arn,
            memory_limit_in_mb=512,
            get_remaining_time_in_millis=lambda: 900_000,
        )
        begun = time.perf_counter()
        with contextlib.redirect_stdout(self._log):
            answer = self._handler(event, context)
        taken = time.perf_counter() - begun
        if "error" in answer:
            raise SystemExit(f"the bootstrap failed: {json.dumps(answer['error'], indent=2)}")
        return taken, answer["status"], self._steps


class Bare:
    """The same calls and waits, by boto3 alone."""

    def __init__(self) -> None:
        self._session: Any = boto3.Session()

    def run(self, steps: list[Step]) -> float:
        """Repeat recorded steps, and give the seconds."""
        begun = time.perf_counter()
        services = sorted({step.service for step in steps if isinstance(step, Call)})
        clients = {name: self._session.client(name) for name in services}
        revisions: dict[str, str] = {}
        for step in steps:
            if isinstance(step, float):
                time.sleep(step)
                continue
            arguments = dict(step.arguments)
            if revision := arguments.get("RevisionId"):
                arguments["RevisionId"] = revisions[revision]
            answer = _repeat(getattr(clients[step.service], step.method), arguments, step)
            if revision := _told(step.answer).get("RevisionId"):
                revisions[revision] = _told(answer)["RevisionId"]
        return time.perf_counter() - begun


def _repeat(method: Callable[..., Any], arguments: dict[str, Any], recorded: Call) -> Any:
    while True:
        try:
            answer = method(**arguments)
        except ClientError as error:
            if not recorded.failed:
                raise
            return error.response
        for stream in {"Body", "Payload"} & answer.keys():
            answer[stream].read()
        # Lambda may take a moment longer to finish a write than it took for the bootstrap.
        waits = recorded.method.startswith("get_") and not _is_busy(recorded.answer)
        if not (waits and _is_busy(answer)):
            return answer
        time.sleep(POLL_SECONDS)


def _told(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the part of an answer that describes a function or an alias."""
    told: Mapping[str, Any] = answer.get("Configuration", answer)
    return told


def _is_busy(answer: Mapping[str, Any]) -> bool:
    return "Pending" in _told(answer).values() or "InProgress" in _told(answer).values()


@dataclass
class Taken:
    """The seconds of one case, in each round."""

    bootstrap: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    calls: int = 0

    def medians(self) -> tuple[float, float, float, float]:
        """Give those of the bootstrap and of bare boto3, the time added and what may be added."""
        ours, theirs = statistics.median(self.bootstrap), statistics.median(self.bare)
        return ours, theirs, ours - theirs, ALLOWED_SHARE * theirs + ALLOWED_SECONDS


def measure(place: Place, rounds: int) -> dict[str, Taken]:
    """Let both go through all cases, in turns; the first round only warms up."""
    bootstrap, alone = Bootstrap(place.arn), Bare()
    taken = {case.name: Taken() for case in CASES}
    for turn in range(rounds + 1):
        recorded: dict[str, list[Step]] = {}
        for case in CASES:
            if case.upload is not None:
                place.upload(case.upload)
            seconds, status, steps = bootstrap.run(case.event(place))
            if status != case.expected:
                raise SystemExit(f"{case.name}: the bootstrap answered {status}")
            recorded[case.name] = steps
            taken[case.name].calls = sum(isinstance(step, Call) for step in steps)
            if turn:
                taken[case.name].bootstrap.append(seconds)
        for case in CASES:
            if case.upload is not None:
                place.upload(case.upload)
            seconds = alone.run(recorded[case.name])
            if turn:
                taken[case.name].bare.append(seconds)
    return taken


_START = """
import json, sys, time, types
sys.path.insert(0, sys.argv[1])
begun = time.perf_counter()
import bootstrap.function
taken = time.perf_counter() - begun
assert bootstrap.function.__file__.startswith(sys.argv[1]), bootstrap.function.__file__
status = ""
if len(sys.argv) > 2:
    context = types.SimpleNamespace(
        aws_request_id="memory", function_name="f", invoked_function_arn=sys.argv[3],
        memory_limit_in_mb=256, get_remaining_time_in_millis=lambda: 900_000)
    status = bootstrap.function.lambda_handler(json.loads(sys.argv[2]), context)["status"]
# Not getrusage: that also counts the process which started this one.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([taken, status, int(peak.split()[1]) * 1024]))
"""


def start(
    unpacked: Path, event: Mapping[str, Any] | None = None, arn: str = ""
) -> tuple[float, str, int]:
    """Import the bootstrap in a fresh process, and send it an event if one is given.

    Gives the seconds of the import, the answer's status, and the process's peak memory in bytes.
    """
    command = [sys.executable, "-I", "-c", _START, str(unpacked)]
    if event is not None:
        command += [json.dumps(event), arn]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, status, peak = json.loads(done.stdout.splitlines()[-1])
    return float(seconds), str(status), int(peak)


def report(taken: Mapping[str, Taken], imported: float, peak: int, size: int) -> None:
    print("case                    calls  bootstrap       bare      added of allowed")
    worst, share = "", -float("inf")
    for name, one in taken.items():
        ours, theirs, added, allowed = (f * 1000 for f in one.medians())
        figures = f"{ours:7.1f} ms {theirs:7.1f} ms {added:7.1f} ms of {allowed:5.1f} ms"
        print(f"{name:22} {one.calls:6} {figures}")
        if added / allowed > share:
            share = added / allowed
            worst = f"{name}, {added:.1f} ms of {allowed:.1f} ms (10 % + 300 ms)"
    print(f"import bootstrap.function: {imported * 1000:.1f} ms (median of {STARTS})")
    print(f"memory of one deployment: {peak / MEGABYTE:.1f} MB of {ALLOWED_MEMORY} MB")
    print(f"bootstrap.zip: {size / 1e6:.2f} MB of {ALLOWED_ZIP_BYTES / 1e6:.0f} MB")
    print(f"time added, nearest to its limit: {worst}")


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rounds, such as 3")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rounds", nargs="?", type=_rounds, default=3)
    rounds = parser.parse_args().rounds
    # So that the embedded AWS is stopped then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as name, EmbeddedAws() as aws:
        folder = Path(name)
        os.environ.update({k: v for k, v in aws.environment.items() if k.startswith("AWS_")})
        bootstrap_zip = build_bootstrap(Target.this_machine(), folder / "bootstrap.zip")
        unpacked = folder / "unpacked"
        zipfile.ZipFile(bootstrap_zip.path).extractall(unpacked)
        imported = statistics.median(start(unpacked)[0] for _ in range(STARTS))
        place = Place.build(folder, bootstrap_zip)
        taken = measure(place, rounds)
        place.upload(0)
        _, status, peak = start(unpacked, place.event(-1), place.arn)
        if status != "CREATED":
            raise SystemExit(f"memory: the bootstrap answered {status}")
        report(taken, imported, peak, bootstrap_zip.size)


if __name__ == "__main__":
    main()
