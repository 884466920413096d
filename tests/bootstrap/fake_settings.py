"""What the fake Lambda keeps beside the configuration, and no version fixes.

Tags, concurrency and the recursion guard are of a function as a whole; what becomes of asynchronous
invocations is set for a version or an alias.
"""

# ruff: noqa: N803 - arguments are spelled as boto3 spells them

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.bootstrap.fake_answers import invalid, missing
from tests.bootstrap.fake_aws import Answer, FakeAws, Refused, copied, operation
from tests.bootstrap.fake_state import BOOTSTRAP, LATEST, Function
from tests.bootstrap.fake_writes import LambdaWrites

CONCURRENCY = 1000
"""The account's."""
UNRESERVED = 100
"""So much of it can never be reserved."""


class Settings(LambdaWrites):
    """The operations on settings."""

    def __init__(self, aws: FakeAws) -> None:
        super().__init__(aws)
        self.bootstrap_tags: dict[str, str] = {}

    @operation(204)
    def tag_resource(self, *, Resource: str, Tags: Mapping[str, str]) -> Answer:
        """Add tags to a function."""
        if Resource == BOOTSTRAP:
            self.bootstrap_tags.update(Tags)
            return {}
        function = self._tagged(Resource)
        function.tags.update(Tags)
        function.latest.revision_id = self.aws.new_id()
        return {}

    @operation()
    def list_tags(self, *, Resource: str) -> Answer:
        """List the tags of a function."""
        if Resource == BOOTSTRAP:
            return {"Tags": dict(self.bootstrap_tags)}
        return {"Tags": dict(self._tagged(Resource).tags)}

    @operation(204)
    def untag_resource(self, *, Resource: str, TagKeys: Iterable[str]) -> Answer:
        """Remove tags from a function; those that it does not have are fine."""
        function = self._tagged(Resource)
        for key in TagKeys:
            function.tags.pop(key, None)
        function.latest.revision_id = self.aws.new_id()
        return {}

    @operation()
    def put_function_concurrency(
        self, *, FunctionName: str, ReservedConcurrentExecutions: int
    ) -> Answer:
        """Reserve concurrency, as long as the account keeps enough."""
        function = self._idle(FunctionName)
        others = sum(f.reserved or 0 for f in self._functions.values() if f is not function)
        if CONCURRENCY - others - ReservedConcurrentExecutions < UNRESERVED:
            raise invalid(
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{UNRESERVED}]."
            )
        function.reserved = ReservedConcurrentExecutions
        return {"ReservedConcurrentExecutions": ReservedConcurrentExecutions}

    @operation(204)
    def delete_function_concurrency(self, *, FunctionName: str) -> Answer:
        """Give reserved concurrency back; none is fine."""
        self._idle(FunctionName).reserved = None
        return {}

    @operation()
    def put_function_recursion_config(self, *, FunctionName: str, RecursiveLoop: str) -> Answer:
        """Set the guard against recursive invocations."""
        self._function(FunctionName).recursive_loop = RecursiveLoop
        return {"RecursiveLoop": RecursiveLoop}

    @operation()
    def get_function_recursion_config(self, *, FunctionName: str) -> Answer:
        """Read the guard against recursive invocations."""
        return {"RecursiveLoop": self._function(FunctionName).recursive_loop}

    @operation()
    def put_function_event_invoke_config(
        self, /, *, FunctionName: str, Qualifier: str = LATEST, **settings: Any
    ) -> Answer:
        """Set what becomes of asynchronous invocations; what is omitted is unset."""
        assert settings.keys() <= {"MaximumRetryAttempts", "DestinationConfig"}
        if not settings:
            raise invalid("You must specify at least one of error handling or destination setting.")
        try:
            function, _ = self._version(FunctionName, Qualifier)
        except Refused:
            raise missing("The function doesn't exist.") from None
        destinations = {"OnSuccess": {}, "OnFailure": {}, **settings.get("DestinationConfig", {})}
        function.invoke_configs[Qualifier] = {
            "FunctionArn": f"{function.arn}:{Qualifier}",
            "LastModified": self.aws.time(),
            **copied({**settings, "DestinationConfig": destinations}),
        }
        return copied(function.invoke_configs[Qualifier])

    @operation()
    def get_function_event_invoke_config(
        self, *, FunctionName: str, Qualifier: str = LATEST
    ) -> Answer:
        """Read what becomes of asynchronous invocations."""
        return copied(self._invoke_configs(FunctionName, Qualifier)[Qualifier])

    @operation(204)
    def delete_function_event_invoke_config(
        self, *, FunctionName: str, Qualifier: str = LATEST
    ) -> Answer:
        """Unset what becomes of asynchronous invocations."""
        del self._invoke_configs(FunctionName, Qualifier)[Qualifier]
        return {}

    def _tagged(self, arn: str) -> Function:
        name, _, qualifier = arn.partition(":function:")[2].partition(":")
        if qualifier:
            raise invalid(
                "Tags on function aliases and versions are not supported. "
                "Please specify a function ARN."
            )
        return self._idle(name)

    def _invoke_configs(self, name: str, qualifier: str) -> dict[str, Answer]:
        function = self._functions.get(name)
        if function is None or qualifier not in function.invoke_configs:
            arn = f"{self._arn('function', name)}:{qualifier}"
            raise missing(f"The function {arn} doesn't have an EventInvokeConfig")
        return function.invoke_configs
