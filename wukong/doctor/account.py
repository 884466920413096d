"""The calls to AWS that only look, for the doctor; the one place here that knows boto3."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError

from wukong.errors import WukongError
from wukong.platform.aws import LIVE

T = TypeVar("T")


class AccountError(WukongError):
    """AWS did not answer, or refused to."""


class Account:
    """An AWS account, as far as a run depends on it.

    Parameters
    ----------
    region, endpoint_url
        Where; by default as boto3 finds it.
    """

    def __init__(self, *, region: str | None = None, endpoint_url: str | None = None) -> None:
        quick = BotoConfig(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2})
        where: dict[str, Any] = {
            "region_name": region,
            "endpoint_url": endpoint_url,
            "config": quick,
        }

        def clients() -> tuple[Any, Any, Any]:
            names = ("sts", "lambda", "iam")
            made = [boto3.client(name, **where) for name in names]  # type: ignore[call-overload]
            return made[0], made[1], made[2]

        self._sts, self._lambda, self._iam = _asked("AWS", clients)
        self.region: str = self._lambda.meta.region_name
        self.endpoint_url: str = self._lambda.meta.endpoint_url

    def identity(self) -> str:
        """Give the ARN of who asks."""
        return str(_asked("sts:GetCallerIdentity", self._sts.get_caller_identity)["Arn"])

    def function(self, name: str) -> Mapping[str, Any] | None:
        """Give the configuration of what a function name leads to; None if that is nothing."""
        bare, _, qualifier = name.partition(":")

        def get() -> Mapping[str, Any] | None:
            try:
                found: Mapping[str, Any] = self._lambda.get_function_configuration(
                    FunctionName=bare, Qualifier=qualifier or LIVE
                )
            except self._lambda.exceptions.ResourceNotFoundException:
                return None
            return found

        return _asked("lambda:GetFunctionConfiguration", get)

    def allows_recursion(self, name: str) -> bool:
        """Tell whether Lambda lets a function start itself again and again."""
        bare = name.partition(":")[0]
        found = _asked(
            "lambda:GetFunctionRecursionConfig",
            lambda: self._lambda.get_function_recursion_config(FunctionName=bare),
        )
        return bool(found["RecursiveLoop"] == "Allow")

    def concurrency(self) -> int:
        """Give how many functions the account may run at once, without what is reserved."""
        settings = _asked("lambda:GetAccountSettings", self._lambda.get_account_settings)
        limits = settings["AccountLimit"]
        unreserved = limits.get("UnreservedConcurrentExecutions")
        return int(unreserved or limits["ConcurrentExecutions"])

    def reserved(self, name: str) -> int | None:
        """Give the concurrency that is reserved for a function; None if none is."""
        bare = name.partition(":")[0]
        found = _asked(
            "lambda:GetFunctionConcurrency",
            lambda: self._lambda.get_function_concurrency(FunctionName=bare),
        )
        reserved = found.get("ReservedConcurrentExecutions")
        return None if reserved is None else int(reserved)

    def denied(self, role: str, action: str, resources: Sequence[str]) -> list[str]:
        """Give the resources on which a role may not do something, by its policies."""
        answer = _asked(
            "iam:SimulatePrincipalPolicy",
            lambda: self._iam.simulate_principal_policy(
                PolicySourceArn=role, ActionNames=[action], ResourceArns=list(resources)
            ),
        )
        results = answer["EvaluationResults"]
        return [str(one["EvalResourceName"]) for one in results if one["EvalDecision"] != "allowed"]


def _asked(what: str, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except (ClientError, BotoCoreError) as error:
        raise AccountError(
            f"{what}: {error}",
            "Check credentials, region and AWS_ENDPOINT_URL; `aws sts get-caller-identity` must "
            "work.",
        ) from error
