"""The one gateway to Lambda: reads a function, and has one method for each kind of write.

Every write is given what it is based on (a RevisionId), so that two deployments at once cannot mix;
every call goes through `patiently`, which knows what waiting cures. Writes return before Lambda has
finished them: `settle` waits for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from bootstrap.configuration import Configuration
from bootstrap.deadline import Deadline
from bootstrap.errors import ConflictError, FunctionBrokenError, RefusedError
from bootstrap.package import Package
from bootstrap.plan import Alias, Deployed, Found
from bootstrap.retry import patiently
from bootstrap.spec import ALIAS

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import GetFunctionResponseTypeDef

    from bootstrap.configuration import Description

T = TypeVar("T")

OWNER_TAG = "wukong:owner"
FIRST_POLL_SECONDS = 0.25
LONGEST_POLL_SECONDS = 3.0
PING_SECONDS = 120
"""How long a ping may take: a cold start of a big package in a VPC, not a task."""

CONTROL = Config(
    connect_timeout=5,
    read_timeout=20,
    retries={"mode": "standard", "total_max_attempts": 3},
)
# A ping that is slow must not be sent again by the SDK while the first one still runs.
PING = Config(connect_timeout=5, read_timeout=PING_SECONDS, retries={"total_max_attempts": 1})


class LambdaApi:
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
        self._deadline = deadline
        self._client = client or boto3.client("lambda", config=CONTROL)
        self._ping_client = ping_client or boto3.client("lambda", config=PING)

    def read(self, name: str) -> Found | None:
        """Read everything that a plan looks at; None if there is no such function."""
        answer = self._steady(name)
        if answer is None:
            return None
        recursion = self._call(name, self._client.get_function_recursion_config, FunctionName=name)
        alias = self.read_alias(name)
        return Found(
            latest=_deployed(answer["Configuration"]),
            owner=_owner(name, answer),
            reserved_concurrency=answer.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
            recursive_loop=recursion["RecursiveLoop"],
            alias=alias,
            live=self._read_version(name, alias.version) if alias else None,
            asynchronous_retries=self._read_retries(name) if alias else None,
        )

    def read_owner(self, name: str) -> tuple[bool, str | None]:
        """Tell whether a function exists, and its owner's tag."""
        answer = self._find(name, self._client.get_function, FunctionName=name)
        return (False, None) if answer is None else (True, _owner(name, answer))

    def read_alias(self, name: str) -> Alias | None:
        """Read where `live` points; None if there is no such alias."""
        answer = self._find(name, self._client.get_alias, FunctionName=name, Name=ALIAS)
        if answer is None:
            return None
        return Alias(
            version=answer["FunctionVersion"],
            revision_id=answer["RevisionId"],
            description=answer.get("Description", ""),
            weighted=bool(answer.get("RoutingConfig", {}).get("AdditionalVersionWeights")),
        )

    def _read_version(self, name: str, version: str) -> Deployed:
        return _deployed(
            self._call(
                f"{name}:{version}",
                self._client.get_function_configuration,
                FunctionName=name,
                Qualifier=version,
            )
        )

    def _read_retries(self, name: str) -> int | None:
        answer = self._find(
            name,
            self._client.get_function_event_invoke_config,
            FunctionName=name,
            Qualifier=ALIAS,
        )
        return answer.get("MaximumRetryAttempts") if answer else None

    def create(self, name: str, wanted: Configuration, package: Package, owner: str) -> None:
        """Create a function, as ours."""
        self._call(
            name,
            self._client.create_function,
            FunctionName=name,
            Code=_location(package),
            Architectures=[wanted.architecture],
            PackageType="Zip",
            Tags={OWNER_TAG: owner},
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
        """
        answer = self._steady(name)
        if answer is None:
            raise ConflictError(f"{name} was deleted meanwhile.", "Send the event again.")
        deployed = _deployed(answer["Configuration"])
        if deployed.broken:
            raise FunctionBrokenError(
                f"Lambda could not finish {name}: {deployed.broken}",
                "Correct what Lambda names (often subnets, layers or the role), and deploy again.",
            )
        return deployed

    def _steady(self, name: str) -> GetFunctionResponseTypeDef | None:
        pause = FIRST_POLL_SECONDS
        while True:
            answer = self._find(name, self._client.get_function, FunctionName=name)
            if answer is None or not _is_busy(answer["Configuration"]):
                return answer
            self._deadline.sleep(pause, f"{name} to settle")
            pause = min(pause * 1.5, LONGEST_POLL_SECONDS)

    def publish(self, name: str, latest: Deployed) -> str:
        """Publish `$LATEST` if it still is what we settled on, and give the version.

        One that is the same as the last version gives that one.
        https://docs.aws.amazon.com/lambda/latest/api/API_PublishVersion.html
        """
        answer = self._call(
            name,
            self._client.publish_version,
            FunctionName=name,
            CodeSha256=latest.code_sha256,
            RevisionId=latest.revision_id,
        )
        return answer["Version"]

    def ping(self, name: str, version: str, payload: bytes) -> tuple[str, bytes]:
        """Invoke a version; gives the FunctionError, empty if there was none, and the answer."""
        answer = self._call(
            f"{name}:{version}",
            self._ping_client.invoke,
            FunctionName=name,
            Qualifier=version,
            InvocationType="RequestResponse",
            Payload=payload,
        )
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

    def tag(self, name: str, arn: str, owner: str) -> None:
        """Make a function ours."""
        self._call(name, self._client.tag_resource, Resource=arn, Tags={OWNER_TAG: owner})

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

    def set_retries(self, name: str, qualifier: str, maximum: int) -> None:
        """Set how often Lambda repeats failed asynchronous invocations of a version or alias."""
        self._call(
            name,
            self._client.put_function_event_invoke_config,
            FunctionName=name,
            Qualifier=qualifier,
            MaximumRetryAttempts=maximum,
        )

    def _call(self, subject: str, method: Callable[..., T], **arguments: Any) -> T:
        return patiently(lambda: method(**arguments), subject, self._deadline)

    def _find(self, subject: str, method: Callable[..., T], **arguments: Any) -> T | None:
        def find() -> T | None:
            try:
                return method(**arguments)
            except ClientError as error:
                if error.response["Error"].get("Code") == "ResourceNotFoundException":
                    return None
                raise

        return patiently(find, subject, self._deadline)


def _owner(name: str, answer: GetFunctionResponseTypeDef) -> str | None:
    """Give the owner's tag; tags that could not be read are not taken for none.

    https://docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html
    """
    if problem := answer.get("TagsError"):
        raise RefusedError(
            f"{name}: its tags cannot be read: {problem.get('Message', problem)}",
            "The bootstrap's role needs lambda:ListTags on the function.",
        )
    return answer.get("Tags", {}).get(OWNER_TAG)


def _location(package: Package) -> dict[str, str]:
    place = {"S3Bucket": package.bucket, "S3Key": package.key}
    return {**place, "S3ObjectVersion": package.version_id} if package.version_id else place


def _is_busy(answer: Description) -> bool:
    pending = answer.get("State") in {"Pending", "Deleting"}
    return pending or answer.get("LastUpdateStatus") == "InProgress"


def _deployed(answer: Description) -> Deployed:
    broken = ""
    if answer.get("State") == "Failed":
        broken = f"{answer.get('StateReasonCode', '')}: {answer.get('StateReason', '')}"
    elif answer.get("LastUpdateStatus") == "Failed":
        reason = answer.get("LastUpdateStatusReason", "")
        broken = f"{answer.get('LastUpdateStatusReasonCode', '')}: {reason}"
    return Deployed(
        version=answer.get("Version", ""),
        arn=answer.get("FunctionArn", ""),
        configuration=Configuration.from_lambda(answer),
        code_sha256=answer.get("CodeSha256", ""),
        revision_id=answer.get("RevisionId", ""),
        broken=broken,
        stillborn=answer.get("State") == "Failed",
    )
