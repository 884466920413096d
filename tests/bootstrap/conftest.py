"""An embedded AWS for the session, the real template in it, and packages for its bucket."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.conftest import until
from wukong.stack.embedded import ACCOUNT, REGION, EmbeddedAws

if TYPE_CHECKING:
    from tests.bootstrap.differential import Both, World
    from tests.bootstrap.script import Script

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Embedded:
    """A running MiniStack, which checks IAM policies as AWS does."""

    url: str
    log: Path

    def client(self, service: str) -> Any:
        """Give a client with root's credentials."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="test",
        )


@pytest.fixture(scope="session")
def embedded(aws: EmbeddedAws) -> Embedded:
    return Embedded(aws.endpoint_url, aws.log)


def handler(component: str, marker: str = "1") -> str:
    """Give the source of a handler that answers a ping, and is different for each marker."""
    return (
        "def lambda_handler(event, context):\n"
        f"    return dict(wukong='pong', component={component!r}, marker={marker!r})\n"
    )


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    """Zip files; the same files always give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def package(marker: str = "1", **replaced: str | None) -> bytes:
    """Give a deployment package; `executor=None` leaves its handler out."""
    sources = {"executor": handler("executor", marker), "invoker": handler("invoker", marker)}
    chosen = {**sources, **replaced}
    return zipped({f"{name}/function.py": text for name, text in chosen.items() if text})


def bootstrap_zip() -> bytes:
    """Zip the bootstrap; its distributions are those of the interpreter that runs it."""
    folder = ROOT / "bootstrap"
    return zipped({f"bootstrap/{path.name}": path.read_bytes() for path in folder.glob("*.py")})


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Give what the bootstrap logs: its handler keeps the standard output of the first import."""
    from bootstrap.function import logger

    handler: Any = logger.registered_handler
    text = io.StringIO()
    before = handler.setStream(text)
    yield text
    handler.setStream(before)


@pytest.fixture
def script() -> Iterator[Script]:
    """Give an empty script of calls, which must have been played to its end after the test."""
    # It builds its packages with what is above.
    from tests.bootstrap.script import Script

    expected = Script()
    yield expected
    expected.verify()


@pytest.fixture(scope="session")
def real(embedded: Embedded) -> World:
    """Give MiniStack, for comparison with the fake AWS."""
    from tests.bootstrap.differential import real_world

    return real_world(embedded)


@pytest.fixture
def both(real: World, request: pytest.FixtureRequest) -> Iterator[Both]:
    """Give both worlds, without the function that is named after the test."""
    from tests.bootstrap.differential import both_worlds

    worlds = both_worlds(real, request.node.name)
    yield worlds
    real.call("lambda", "delete_function", FunctionName=worlds.name)


@dataclass
class Stack:
    """The real template, deployed."""

    aws: Embedded
    name: str
    prefix: str
    parameters: dict[str, str]
    outputs: dict[str, str] = field(default_factory=dict)

    @property
    def functions(self) -> tuple[str, str]:
        """The names of both functions."""
        return f"{self.prefix}Executor", f"{self.prefix}Invoker"

    @property
    def bucket(self) -> str:
        """The package's bucket."""
        return f"{self.prefix.lower()}-packages-{ACCOUNT}-{REGION}"

    def create(self) -> Stack:
        """Create the stack, and wait."""
        self._send("create_stack")
        return self

    def update(self, **parameters: str) -> Stack:
        """Update the stack with other parameters, and wait."""
        self.parameters.update(parameters)
        self._send("update_stack")
        return self

    def delete(self) -> None:
        """Delete the stack, and wait."""
        client = self.aws.client("cloudformation")
        stack_id = client.describe_stacks(StackName=self.name)["Stacks"][0]["StackId"]
        client.delete_stack(StackName=self.name)
        status = until(lambda: self._settled(stack_id), f"{self.name} to be deleted", 120)
        assert status == "DELETE_COMPLETE", self.story()

    def empty(self) -> None:
        """Empty the bucket, as one must before deleting it."""
        client = self.aws.client("s3")
        found = client.list_object_versions(Bucket=self.bucket)
        for version in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]:
            client.delete_object(
                Bucket=self.bucket, Key=version["Key"], VersionId=version["VersionId"]
            )

    def _send(self, operation: str) -> None:
        client = self.aws.client("cloudformation")
        getattr(client, operation)(
            StackName=self.name,
            TemplateURL=_template(self.aws),
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value}
                for key, value in self.parameters.items()
            ],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        status = until(lambda: self._settled(self.name), f"{self.name} to settle", 120)
        assert status in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}, self.story()
        found = client.describe_stacks(StackName=self.name)["Stacks"][0]
        self.outputs = {o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", [])}

    def _settled(self, name: str) -> str | None:
        found = self.aws.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
        status = str(found["StackStatus"])
        return None if status.endswith("IN_PROGRESS") else status

    def story(self) -> str:
        """Tell what happened, for a failing test."""
        client = self.aws.client("cloudformation")
        events = client.describe_stack_events(StackName=self.name)["StackEvents"]
        lines = [
            f"{e['LogicalResourceId']} {e['ResourceStatus']} {e.get('ResourceStatusReason', '')}"
            for e in events
        ]
        return "\n".join([*lines, self.aws.log.read_text()[-6000:]])

    def upload(self, body: bytes, **more: str) -> str:
        """Upload a package, and give its S3 version."""
        answer = self.aws.client("s3").put_object(
            Bucket=self.bucket, Key="deployment.zip", Body=body, **more
        )
        return str(answer["VersionId"])

    def send(self, event: object) -> dict[str, Any]:
        """Invoke the bootstrap function by hand, and give its answer."""
        answer = self.aws.client("lambda").invoke(
            FunctionName=f"{self.prefix}Bootstrap", Payload=json.dumps(event).encode()
        )
        body = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, body
        return dict(body)

    def live(self) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Give both aliases, without what the SDK adds."""
        executor, invoker = (self._alias(name) for name in self.functions)
        return executor, invoker

    def _alias(self, name: str) -> dict[str, Any] | None:
        client = self.aws.client("lambda")
        try:
            alias = client.get_alias(FunctionName=name, Name="live")
        except client.exceptions.ResourceNotFoundException:
            return None
        return {key: value for key, value in alias.items() if key != "ResponseMetadata"}

    def until_live(self, package_id: str) -> None:
        """Wait until both aliases carry the record of a package."""

        def is_live() -> bool:
            return all(
                alias is not None and f"pkg={package_id} " in alias["Description"]
                for alias in self.live()
            )

        until(
            is_live,
            lambda: f"package {package_id}: {self.live()} {self.aws.log.read_text()[-4000:]}",
        )

    def marker(self, position: int = 0) -> str:
        """Ask the live function which package it is from."""
        answer = self.aws.client("lambda").invoke(
            FunctionName=self.functions[position], Qualifier="live", Payload=b'{"wukong":"ping"}'
        )
        return str(json.loads(answer["Payload"].read())["marker"])


def _template(aws: Embedded) -> str:
    """Upload the real template and the bootstrap's zip, as a deployment does; gives its address."""
    client = aws.client("s3")
    client.create_bucket(Bucket="sources")
    client.put_object(Bucket="sources", Key="bootstrap.zip", Body=bootstrap_zip())
    text = (ROOT / "template-bootstrap.yaml").read_text()
    local = "CodeUri: dist/bootstrap.zip"
    assert local in text
    text = text.replace(local, "CodeUri: {Bucket: sources, Key: bootstrap.zip}")
    # As an object it may be longer than in a request.
    client.put_object(Bucket="sources", Key="template.yaml", Body=text.encode())
    return f"{aws.url}/sources/template.yaml"


@pytest.fixture(scope="session")
def new_stack(embedded: Embedded) -> Callable[[str], Stack]:
    """Give stacks of their own names, not yet created."""

    def make(prefix: str) -> Stack:
        parameters = {
            "FunctionPrefix": prefix,
            "BucketPrefix": f"{prefix.lower()}-packages",
            "Embedded": "true",
            "Runtime": f"python3.{sys.version_info.minor}",
        }
        return Stack(embedded, f"stack-{prefix.lower()}", prefix, parameters)

    return make
