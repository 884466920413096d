"""What the fake Lambda holds: functions with their versions and aliases, layers; looking them up.

The operations on it are in the modules above, by what they are about; `fake_lambda` unites them.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field

from tests.bootstrap.fake_answers import invalid, missing
from tests.bootstrap.fake_aws import Answer, FakeAws, FakeClient, Refused, copied

LATEST = "$LATEST"
BOOTSTRAP = "arn:aws:lambda:eu-west-1:123456789012:function:WukongBootstrap"
"""The bootstrap function, which is there without having been created here."""
SETTLED: Answer = {"State": "Active", "LastUpdateStatus": "Successful"}


@dataclass
class Version:
    """`$LATEST`, or a published version.

    `polls` is None when nothing goes on; when it ends, `status` turns into `ending`. Invocations
    get `running`, the code and handler from before a write that goes on or failed.
    """

    number: str
    wire: Answer
    code: bytes
    revision_id: str
    modified: str
    status: Answer = field(default_factory=lambda: SETTLED)
    polls: int | None = None
    ending: Answer = field(default_factory=lambda: SETTLED)
    running: tuple[bytes, str] = field(init=False)
    published_from: Answer = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.run()

    def run(self) -> None:
        """Let invocations get what was written."""
        self.running = self.code, self.wire["Handler"]


@dataclass
class Function:
    """A function with all that belongs to it."""

    arn: str
    latest: Version
    tags: dict[str, str]
    versions: dict[str, Version] = field(default_factory=dict)
    aliases: dict[str, Answer] = field(default_factory=dict)
    invoke_configs: dict[str, Answer] = field(default_factory=dict)
    recursive_loop: str = "Terminate"
    reserved: int | None = None
    next_version: int = 1

    def aliases_of(self, version: str) -> list[str]:
        """Name the aliases that point at a version, as a whole or in part."""
        return [
            name
            for name, alias in self.aliases.items()
            if version == alias["FunctionVersion"]
            or version in alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        ]

    def described(self, version: Version, qualifier: str | None = None) -> Answer:
        """Give what Lambda says about a version to who asked with this qualifier."""
        changing = {
            "FunctionArn": f"{self.arn}:{qualifier}" if qualifier else self.arn,
            "Version": version.number,
            "RevisionId": version.revision_id,
            "LastModified": version.modified,
        }
        return {**copied(version.wire), **changing, **version.status}


class LambdaState(FakeClient):
    """What there is, before anything is done to it."""

    def __init__(self, aws: FakeAws) -> None:
        super().__init__(aws)
        self._functions: dict[str, Function] = {}
        self._layers: dict[str, list[Answer]] = {}
        self._layer_numbers: dict[str, int] = {}
        self.bootstrap_environment: dict[str, str] = {}

    def _function(self, name: str) -> Function:
        function = self._functions.get(name)
        if function is None:
            raise missing(f"Function not found: {self._arn('function', name)}")
        return function

    def _version(
        self, name: str, qualifier: str | None, *, aliases: bool = True
    ) -> tuple[Function, Version]:
        function = self._function(name)
        if aliases and qualifier in function.aliases:
            qualifier = function.aliases[qualifier]["FunctionVersion"]
        if qualifier in {None, LATEST}:
            return function, function.latest
        version = function.versions.get(qualifier or "")
        if version is None:
            raise missing(f"Function not found: {function.arn}:{qualifier}")
        return function, version

    def _zip(self, *, S3Bucket: str, S3Key: str, S3ObjectVersion: str | None = None) -> bytes:  # noqa: N803 -- AWS's
        """Fetch a zip from where Lambda is told that it is."""
        try:
            body = self.aws.s3.fetch(S3Bucket, S3Key, S3ObjectVersion)
        except Refused as refused:
            raise invalid(
                f"Error occurred while GetObject. S3 Error Code: {refused.code}. "
                f"S3 Error Message: {refused.message}"
            ) from None
        if not zipfile.is_zipfile(io.BytesIO(body)):
            raise invalid(
                "Could not unzip uploaded file. Please check your file, then try to upload again."
            )
        return body

    def _arn(self, kind: str, name: str) -> str:
        return f"arn:aws:lambda:{self.aws.region}:{self.aws.account}:{kind}:{name}"

    def _date(self) -> str:
        return self.aws.time().strftime("%Y-%m-%dT%H:%M:%S.000+0000")
