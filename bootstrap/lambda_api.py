"""The writing half of the gateway to Lambda: one method for each kind of write.

Every write is given what it is based on (a RevisionId), so that two deployments at once cannot mix.
Writes return before Lambda has finished them: `settle` waits for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError

from bootstrap.configuration import Configuration
from bootstrap.deadline import Deadline
from bootstrap.errors import DeletedMeanwhileError, FunctionBrokenError, SmokeTestError
from bootstrap.found import Asynchronous, Deployed
from bootstrap.lambda_reader import (
    FIRST_POLL_SECONDS,
    LONGEST_POLL_SECONDS,
    LambdaReader,
    deployed,
)
from bootstrap.package import Package
from bootstrap.record import Origin
from bootstrap.retry import patiently
from bootstrap.spec import ALIAS

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import InvocationResponseTypeDef

PING_SECONDS = 120
"""How long a ping may take: a cold start of a big package in a VPC, not a task."""

# A ping that is slow must not be sent again by the SDK while the first one still runs.
PING = Config(connect_timeout=5, read_timeout=PING_SECONDS, retries={"total_max_attempts": 1})


class LambdaApi(LambdaReader):
    """Lambda, as a deployment sees it.

    Parameters
    ----------
    deadline
        Until when to wait for Lambda.
    client, ping_client
        For everything else, and for the smoke test; made here if not given.
    """

    def __init__(
        self,
        deadline: Deadline,
        client: LambdaClient | None = None,
        ping_client: LambdaClient | None = None,
    ) -> None:
        super().__init__(deadline, client)
        self._ping_client = ping_client

    def create(
        self,
        name: str,
        wanted: Configuration,
        package: Package,
        tags: Mapping[str, str],
    ) -> None:
        """Create a function."""
        self._call(
            name,
            self._client.create_function,
            FunctionName=name,
            Code=_location(package),
            Architectures=[wanted.architecture],
            PackageType="Zip",
            Tags=dict(tags),
            **wanted.to_lambda(),
        )

    def update_configuration(
        self, name: str, wanted: Configuration, fields: tuple[str, ...], revision_id: str
    ) -> None:
        """Update these fields of `$LATEST`."""
        self._call(
            name,
            self._client.update_function_configuration,
            FunctionName=name,
            RevisionId=revision_id,
            **wanted.to_lambda(fields),
        )

    def update_code(
        self, name: str, wanted: Configuration, package: Package, revision_id: str
    ) -> None:
        """Update the code and the architecture of `$LATEST`."""
        self._call(
            name,
            self._client.update_function_code,
            FunctionName=name,
            RevisionId=revision_id,
            Architectures=[wanted.architecture],
            **_location(package),
        )

    def settle(self, name: str) -> Deployed:
        """Wait until Lambda has finished the last write, and give `$LATEST` as it is then.

        Only this RevisionId is good for the next write: it changes once more when a write ends.

        Raises
        ------
        FunctionBrokenError
            With Lambda's reason, if it could not finish.
        DeadlineError
            If it takes longer than there is time.
        DeletedMeanwhileError
            If it is gone.
        """
        answer = self._steady(name)
        if answer is None:
            raise DeletedMeanwhileError(
                f"{name} was deleted meanwhile.", "To have it again, deploy it again."
            )
        latest = deployed(answer["Configuration"])
        if latest.broken:
            raise FunctionBrokenError(
                f"Lambda could not finish {name}: {latest.broken}",
                "Correct what Lambda names (often subnets, layers or the role), and deploy again.",
            )
        return latest

    def publish(self, name: str, latest: Deployed, origin: Origin) -> tuple[str, bool]:
        """Publish `$LATEST` if it still is what we settled on; gives the version, and if it is new.

        One that is the same as the last version gives that one, with what was written about it.
        https://docs.aws.amazon.com/lambda/latest/api/API_PublishVersion.html
        """
        answer = self._call(
            name,
            self._client.publish_version,
            FunctionName=name,
            CodeSha256=latest.code_sha256,
            RevisionId=latest.revision_id,
            Description=str(origin),
        )
        return answer["Version"], answer.get("Description") == str(origin)

    def await_version(self, name: str, version: str) -> None:
        """Wait until a version can be invoked: one with SnapStart is only then being started."""
        pause = FIRST_POLL_SECONDS
        while True:
            found = self._call(
                f"{name}:{version}",
                self._client.get_function_configuration,
                FunctionName=name,
                Qualifier=version,
            )
            if found.get("State") != "Pending":
                return
            self._deadline.sleep(pause, f"{name}:{version} to start")
            pause = min(pause * 1.5, LONGEST_POLL_SECONDS)

    def delete_version(self, name: str, version: str) -> None:
        """Delete a version that no alias points at; one that is gone already is fine."""
        delete = self._client.delete_function
        self._find(f"{name}:{version}", delete, FunctionName=name, Qualifier=version)

    def ping(
        self, name: str, version: str, payload: bytes, patience: float | None = None
    ) -> tuple[str, bytes]:
        """Invoke a version; gives the FunctionError, empty if there was none, and the answer.

        What waiting cures is waited for until the deadline, or `patience` seconds.

        Raises
        ------
        SmokeTestError
            If it is silent.
        """
        # Made when it is needed: most events deploy nothing.
        client = self._ping_client or boto3.client("lambda", config=PING)
        self._ping_client = client

        def invoke() -> InvocationResponseTypeDef:
            return client.invoke(
                FunctionName=name,
                Qualifier=version,
                InvocationType="RequestResponse",
                Payload=payload,
            )

        def insist() -> InvocationResponseTypeDef:
            """Ask again after a silence, as an answer can be lost; two are the version's own."""
            with suppress(ReadTimeoutError):
                return invoke()
            try:
                return invoke()
            except ReadTimeoutError:
                raise SmokeTestError(
                    f"{name}:{version} did not answer a ping within {PING_SECONDS} seconds, twice.",
                    "Look into the function's log for what it waits for.",
                ) from None

        deadline = self._deadline if patience is None else self._deadline.within(patience)
        answer = patiently(insist, f"{name}:{version}", deadline)
        return answer.get("FunctionError", ""), answer["Payload"].read()

    def create_alias(self, name: str, version: str, description: str) -> str:
        """Make a version live for the first time; gives the alias's RevisionId."""
        answer = self._call(
            name,
            self._client.create_alias,
            FunctionName=name,
            Name=ALIAS,
            FunctionVersion=version,
            Description=description,
        )
        return answer["RevisionId"]

    def update_alias(self, name: str, version: str, description: str, revision_id: str) -> str:
        """Make another version live, wholly; gives the alias's new RevisionId.

        An old canary's weights would survive if no routing were given.
        """
        answer = self._call(
            name,
            self._client.update_alias,
            FunctionName=name,
            Name=ALIAS,
            FunctionVersion=version,
            Description=description,
            RoutingConfig={"AdditionalVersionWeights": {}},
            RevisionId=revision_id,
        )
        return answer["RevisionId"]

    def delete_alias(self, name: str) -> None:
        """Make no version live."""
        self._call(name, self._client.delete_alias, FunctionName=name, Name=ALIAS)

    def delete(self, name: str) -> None:
        """Delete a function with all its versions; one that is gone already is fine."""
        self._find(name, self._client.delete_function, FunctionName=name)

    def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        """Add or change tags of a function."""
        self._call(arn, self._client.tag_resource, Resource=arn, Tags=dict(tags))

    def untag(self, arn: str, keys: Iterable[str]) -> None:
        """Remove tags of a function."""
        self._call(arn, self._client.untag_resource, Resource=arn, TagKeys=list(keys))

    def set_recursion(self, name: str, loop: str) -> None:
        """Set Lambda's guard against recursive invocations: "Allow" or "Terminate"."""
        self._call(
            name,
            self._client.put_function_recursion_config,
            FunctionName=name,
            RecursiveLoop=loop,
        )

    def set_concurrency(self, name: str, reserved: int | None) -> None:
        """Reserve concurrency; None gives it back."""
        if reserved is None:
            self._call(name, self._client.delete_function_concurrency, FunctionName=name)
            return
        self._call(
            name,
            self._client.put_function_concurrency,
            FunctionName=name,
            ReservedConcurrentExecutions=reserved,
        )

    def set_asynchronous(self, name: str, qualifier: str, wanted: Asynchronous) -> None:
        """Set what happens to failed asynchronous invocations of a version or alias."""
        place = {"FunctionName": name, "Qualifier": qualifier}
        if wanted == Asynchronous():
            self._find(name, self._client.delete_function_event_invoke_config, **place)
            return
        said: dict[str, Any] = {}
        if wanted.retries is not None:
            said["MaximumRetryAttempts"] = wanted.retries
        if wanted.destination:
            said["DestinationConfig"] = {"OnFailure": {"Destination": wanted.destination}}
        self._call(name, self._client.put_function_event_invoke_config, **place, **said)

    def publish_layer(
        self, name: str, package: Package, description: str, fits: Mapping[str, list[str]]
    ) -> str:
        """Publish a zip as a new version of a layer, and give its ARN."""
        answer = self._call(
            f"layer {name}",
            self._client.publish_layer_version,
            LayerName=name,
            Description=description,
            Content=_location(package),
            **fits,
        )
        return answer["LayerVersionArn"]

    def delete_layer_version(self, name: str, number: int) -> None:
        """Delete a layer version; functions that have it keep it."""
        delete = self._client.delete_layer_version
        self._find(f"layer {name}", delete, LayerName=name, VersionNumber=number)


def _location(package: Package) -> dict[str, str]:
    place = {"S3Bucket": package.bucket, "S3Key": package.key}
    return {**place, "S3ObjectVersion": package.version_id} if package.version_id else place
