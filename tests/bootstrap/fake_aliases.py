"""The fake Lambda's aliases, which have revisions and weights of their own."""

# ruff: noqa: N803 - arguments are spelled as boto3 spells them

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.bootstrap.fake_answers import STALE, conflict, invalid, missing, paged, without
from tests.bootstrap.fake_aws import Answer, copied, operation
from tests.bootstrap.fake_state import LATEST, LambdaState


class Aliases(LambdaState):
    """The operations on aliases."""

    @operation(201)
    def create_alias(
        self,
        *,
        FunctionName: str,
        Name: str,
        FunctionVersion: str,
        Description: str = "",
        RoutingConfig: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Create an alias of a version."""
        function, _ = self._version(FunctionName, FunctionVersion, aliases=False)
        arn = f"{function.arn}:{Name}"
        if Name in function.aliases:
            raise conflict(f"Alias already exists: {arn}")
        alias = {
            "AliasArn": arn,
            "Name": Name,
            "FunctionVersion": FunctionVersion,
            "Description": Description,
            "RevisionId": self.aws.new_id(),
        }
        function.aliases[Name] = self._routed(FunctionName, alias, RoutingConfig)
        return copied(function.aliases[Name])

    @operation()
    def get_alias(self, *, FunctionName: str, Name: str) -> Answer:
        """Read an alias."""
        function = self._function(FunctionName)
        if Name not in function.aliases:
            raise missing(f"Cannot find alias arn: {function.arn}:{Name}")
        return copied(function.aliases[Name])

    @operation()
    def update_alias(
        self,
        *,
        FunctionName: str,
        Name: str,
        FunctionVersion: str | None = None,
        Description: str | None = None,
        RoutingConfig: Mapping[str, Any] | None = None,
        RevisionId: str | None = None,
    ) -> Answer:
        """Update an alias; what is omitted stays, weights too."""
        function = self._function(FunctionName)
        if Name not in function.aliases:
            raise missing(f"Alias not found: {function.arn}:{Name}")
        alias = {**function.aliases[Name]}
        if RevisionId not in {None, alias["RevisionId"]}:
            raise STALE
        alias["RevisionId"] = self.aws.new_id()
        if FunctionVersion is not None:
            self._version(FunctionName, FunctionVersion, aliases=False)
            alias["FunctionVersion"] = FunctionVersion
        if Description is not None:
            alias["Description"] = Description
        function.aliases[Name] = self._routed(FunctionName, alias, RoutingConfig)
        return copied(function.aliases[Name])

    @operation(204)
    def delete_alias(self, *, FunctionName: str, Name: str) -> Answer:
        """Delete an alias; one that is gone already is fine."""
        function = self._function(FunctionName)
        function.aliases.pop(Name, None)
        function.invoke_configs.pop(Name, None)
        return {}

    @operation()
    def list_aliases(
        self, *, FunctionName: str, Marker: str | None = None, MaxItems: int = 50
    ) -> Answer:
        """List the aliases."""
        aliases = [*self._function(FunctionName).aliases.values()]
        page, more = paged(aliases, Marker, MaxItems)
        return {"Aliases": copied(page), **more}

    def _routed(
        self, function_name: str, alias: Answer, routing: Mapping[str, Any] | None
    ) -> Answer:
        """Give the alias with this routing: None leaves it as it is, an empty one clears it."""
        if routing is None:
            return alias
        weights = dict(routing["AdditionalVersionWeights"])
        if len(weights) > 1:
            raise invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
        target = alias["FunctionVersion"]
        for version in weights:
            if version == target:
                raise invalid(
                    f"Invalid function version {version}. Function version {version} is already "
                    "included in routing configuration."
                )
            if target == LATEST:
                message = "$LATEST is not supported for an alias pointing to more than 1 version"
                raise invalid(message)
            self._version(function_name, version, aliases=False)
        bare = without(alias, {"RoutingConfig"})
        return {**bare, "RoutingConfig": {"AdditionalVersionWeights": weights}} if weights else bare
