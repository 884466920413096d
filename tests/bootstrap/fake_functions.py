"""The fake Lambda's functions: created, read, updated, deleted."""

# ruff: noqa: N803 - arguments are spelled as boto3 spells them

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.bootstrap.fake_answers import code_facts, conflict, invalid
from tests.bootstrap.fake_aws import Answer, operation
from tests.bootstrap.fake_configuration import configured, default_configuration
from tests.bootstrap.fake_state import BOOTSTRAP, LATEST, Function, Version
from tests.bootstrap.fake_writes import CREATING, LambdaWrites


class Functions(LambdaWrites):
    """The operations on functions."""

    @operation(201)
    def create_function(
        self,
        /,
        *,
        FunctionName: str,
        Role: str,
        Code: Mapping[str, Any],
        Runtime: str,
        Handler: str,
        PackageType: str = "Zip",
        Architectures: Sequence[str] = ("x86_64",),
        Tags: Mapping[str, str] | None = None,
        **configuration: Any,
    ) -> Answer:
        """Create a function, which is `Pending` until Lambda has finished."""
        assert PackageType == "Zip"
        changes = {"Role": Role, "Runtime": Runtime, "Handler": Handler, **configuration}
        wire = self._configured(default_configuration(FunctionName), changes)
        if FunctionName in self._functions:
            raise conflict(f"Function already exist: {FunctionName}")
        code = self._zip(**Code)
        wire = {**wire, "Architectures": list(Architectures), **code_facts(code)}
        latest = Version(LATEST, wire, code, self.aws.new_id(), self._date())
        function = Function(self._arn("function", FunctionName), latest, dict(Tags or {}))
        self._functions[FunctionName] = function
        self._begin("CreateFunction", latest, CREATING, self.create_polls)
        return function.described(latest)

    @operation()
    def get_function(self, *, FunctionName: str, Qualifier: str | None = None) -> Answer:
        """Read a function with all that GetFunction knows; one poll."""
        function, version = self._version(FunctionName, Qualifier)
        self._poll(version)
        location = f"https://awslambda.example/{version.wire['CodeSha256']}"
        answer: Answer = {
            "Configuration": function.described(version, Qualifier),
            "Code": {"RepositoryType": "S3", "Location": location},
        }
        if function.tags and Qualifier is None:
            answer["Tags"] = dict(function.tags)
        if function.reserved is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
        return answer

    @operation()
    def get_function_configuration(
        self, *, FunctionName: str, Qualifier: str | None = None
    ) -> Answer:
        """Read the configuration of a function or a version; one poll."""
        if FunctionName == BOOTSTRAP:
            return {"Environment": {"Variables": dict(self.bootstrap_environment)}}
        function, version = self._version(FunctionName, Qualifier)
        self._poll(version)
        return function.described(version, Qualifier)

    @operation()
    def update_function_code(
        self,
        /,
        *,
        FunctionName: str,
        RevisionId: str | None = None,
        Architectures: Sequence[str] | None = None,
        **Code: Any,
    ) -> Answer:
        """Update the code of `$LATEST`, and its architecture if given."""
        function = self._writable(FunctionName, RevisionId)
        latest = function.latest
        latest.code = self._zip(**Code)
        latest.wire = {**latest.wire, **code_facts(latest.code)}
        if Architectures is not None:
            latest.wire["Architectures"] = list(Architectures)
        return self._updated("UpdateFunctionCode", function)

    @operation()
    def update_function_configuration(
        self, /, *, FunctionName: str, RevisionId: str | None = None, **configuration: Any
    ) -> Answer:
        """Update `$LATEST`; what is omitted stays."""
        function = self._writable(FunctionName, RevisionId)
        function.latest.wire = self._configured(function.latest.wire, configuration)
        return self._updated("UpdateFunctionConfiguration", function)

    @operation()
    def delete_function(self, *, FunctionName: str, Qualifier: str | None = None) -> Answer:
        """Delete a function with all that belongs to it, or one version; none of those is fine."""
        if Qualifier is None:
            self._idle(FunctionName)
            del self._functions[FunctionName]
            return {"StatusCode": 204}
        if Qualifier == LATEST:
            raise invalid("$LATEST version cannot be deleted without deleting the function.")
        function = self._function(FunctionName)
        if not Qualifier.isdecimal():
            raise invalid("Deletion of aliases is not currently supported.")
        if used := function.aliases_of(Qualifier):
            raise conflict(
                "Unable to delete version because the following aliases reference it: "
                f"[{', '.join(used)}]"
            )
        function.versions.pop(Qualifier, None)
        function.invoke_configs.pop(Qualifier, None)
        return {"StatusCode": 204}

    def _configured(self, wire: Answer, changes: Mapping[str, Any]) -> Answer:
        layers = {
            layer["LayerVersionArn"]: layer["Content"]["CodeSize"]
            for versions in self._layers.values()
            for layer in versions
        }
        after = configured(wire, changes, layers)
        if "Role" in changes:
            self._check_role(after["Role"])
        return after
