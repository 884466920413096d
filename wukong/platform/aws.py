"""The aws platform: Executors are invocations of a Lambda function, or of anything alike.

A few Executors are started directly; more go to the Invoker in one call. `LambdaGateway` is the
only place that talks to Lambda's data plane, with retries that are bounded and jittered.
"""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from wukong.messages import (
    ExecutorEvent,
    InvokerReport,
    MessageError,
    Start,
    Targets,
)
from wukong.platform.batches import invoker_payload, sent_again
from wukong.platform.costs import StartCosts
from wukong.platform.environment import Environment, Probe
from wukong.platform.interface import Platform, PlatformError, Provision, guided
from wukong.platform.ramp import ramp
from wukong.storage import Storage, StorageError

LIVE = "live"
"""The alias that every deployment leaves pointing at the release in use."""

DIRECT_CONNECTIONS = 10

ATTEMPTS = 8
BACKOFF_SECONDS = 0.1
BACKOFF_MOST_SECONDS = 5.0
_TRANSIENT = frozenset(
    {
        "TooManyRequestsException",
        "ServiceException",
        "InternalFailure",
        "EC2ThrottledException",
        "RequestTimeout",
        "ThrottlingException",
    }
)
_LOST = (ConnectionClosedError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError)
"""What the SDK raises after a request that may have been taken."""

_FUNCTION = re.compile(
    r"((?:arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:function:|[0-9]{12}:function:)?[^:]+)"
    r"(?::([^:]+))?"
)
"""A name or an ARN, whole or partial, and a qualifier.
https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#lambda-Invoke-request-FunctionName"""


class AnswerLostError(PlatformError):
    """A function may have run, but its answer has not come."""


class LambdaGateway:
    """Lambda's Invoke, GetAlias and GetFunctionConfiguration, in the words of the engine."""

    def __init__(
        self,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        connections: int = DIRECT_CONNECTIONS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sleep = sleep
        self.throttled = 0
        """How many requests were refused because too many functions ran, or were started."""
        # Retries are ours: the SDK's own would not say how often an event was sent.
        self._lambda: Any = boto3.client(
            "lambda",
            region_name=region,
            endpoint_url=endpoint_url,
            config=BotoConfig(
                retries={"total_max_attempts": 1},
                max_pool_connections=connections,
                connect_timeout=5,
                read_timeout=900,
            ),
        )

    def start(self, function: str, payload: bytes, until: float) -> str | None:
        """Invoke asynchronously; gives None if accepted, else why it was refused.

        Parameters
        ----------
        function
            Name, `name:alias` or `name:version`.
        until
            Time (`time.monotonic`) after which it is not tried again.
        """
        for attempt in range(1, ATTEMPTS + 1):
            reason, transient = self._try_start(function, payload)
            if reason is None:
                return None
            pause = _pause(attempt)
            if not transient or attempt == ATTEMPTS or time.monotonic() + pause > until:
                return reason
            self._sleep(pause)
        return reason

    def _try_start(self, function: str, payload: bytes) -> tuple[str | None, bool]:
        try:
            answer = self._lambda.invoke(
                FunctionName=function, InvocationType="Event", Payload=payload
            )
            # Unread, the stream would keep the connection from being used again.
            answer["Payload"].read()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            self.throttled += status == 429
            return f"{code}: {error.response['Error']['Message']}", (
                code in _TRANSIENT or status == 429 or status >= 500
            )
        except BotoCoreError as error:
            return f"{type(error).__name__}: {error}", True
        return None, False

    def call(self, function: str, payload: bytes) -> Any:
        """Invoke synchronously and give the answer; what is throttled, up to eight times.

        Raises
        ------
        AnswerLostError
            If the function may have run.
        PlatformError
            If it has not, or has failed; with the reason.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._try_call(function, payload)
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                self.throttled += status == 429
                if status != 429 or attempt == ATTEMPTS:
                    raise _cannot_invoke(function, error) from error
            except _LOST as error:
                raise AnswerLostError(
                    f"the answer of function {function} was lost: {error}",
                    "It may have run; its log group tells.",
                ) from error
            except BotoCoreError as error:
                raise _cannot_invoke(function, error) from error
            self._sleep(_pause(attempt))
        raise AssertionError("the last attempt returns or raises")

    def _try_call(self, function: str, payload: bytes) -> Any:
        answer = self._lambda.invoke(FunctionName=function, Payload=payload)
        body = answer["Payload"].read()
        if "FunctionError" in answer:
            raise PlatformError(
                f"function {function} failed: {body[:2000].decode(errors='replace')}",
                "Its log group has the whole story.",
            )
        return json.loads(body)

    def concurrency(self) -> int | None:
        """Give how many functions the account may run at once; None if that may not be asked."""
        try:
            limits = self._lambda.get_account_settings()["AccountLimit"]
        except (ClientError, BotoCoreError):
            return None
        # None is kept back for a function unless somebody has asked for it.
        found = limits.get("UnreservedConcurrentExecutions") or limits.get("ConcurrentExecutions")
        return int(found) if found else None

    def provision(self, function: str) -> Provision | None:
        """Say what a function is given; None if that may not be asked."""
        name, _, qualifier = function.partition(":")
        try:
            found = self._lambda.get_function_configuration(
                FunctionName=name, Qualifier=qualifier or LIVE
            )
        except (ClientError, BotoCoreError):
            return None
        return Provision(
            memory_mb=int(found["MemorySize"]),
            architecture=found.get("Architectures", ["x86_64"])[0],
            region=self._lambda.meta.region_name,
        )

    def pinned(self, function: str) -> str:
        """Give `name:version` for a function, so that a run keeps to one release.

        The name may be an ARN. Without a qualifier the alias `live` is meant; a version stays as
        it is.
        """
        name, qualifier = _split(function)
        if qualifier.isdecimal():
            return function
        try:
            alias = self._lambda.get_alias(FunctionName=name, Name=qualifier or LIVE)
        except (ClientError, BotoCoreError) as error:
            raise PlatformError(
                f"function {name} has no release behind {qualifier or LIVE!r}: {error}",
                "Deploy a package (`wukong deploy`, or upload deployment.zip to the bucket), and "
                "check region, credentials and the names under aws_lambda in the configuration.",
            ) from error
        return f"{name}:{alias['FunctionVersion']}"


def _pause(attempt: int) -> float:
    longest = min(BACKOFF_MOST_SECONDS, BACKOFF_SECONDS * 2.0**attempt)
    return random.uniform(0.5, 1.0) * longest  # noqa: S311 - spreads retries, hides nothing


def _cannot_invoke(function: str, error: Exception) -> PlatformError:
    return PlatformError(
        f"function {function} cannot be invoked: {error}",
        "`wukong status` tells what is deployed; the caller needs lambda:InvokeFunction.",
    )


def _split(function: str) -> tuple[str, str]:
    """Give a function's name, or its ARN, and its qualifier."""
    found = _FUNCTION.fullmatch(function)
    return (found[1], found[2] or "") if found is not None else (function, "")


class AwsPlatform(Platform):
    """Starts Executors on Lambda.

    Parameters
    ----------
    gateway
        Lambda.
    functions
        The functions that new runs use; only clients ask for them.
    store
        Where batches that are too large for a payload are put; None to send them inline always.
    direct_limit
        Up to so many Executors are started without the Invoker; None to go by what is measured.
    """

    def __init__(
        self,
        gateway: LambdaGateway,
        functions: Targets | None = None,
        store: Storage | None = None,
        direct_limit: int | None = None,
    ) -> None:
        self._gateway = gateway
        self._functions = functions
        self._store = store
        self._direct_limit = direct_limit
        self._costs = StartCosts()
        self._concurrency: int | None = None
        self._ramp = ramp(0, None)
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="wukong-probe")
        self._probed: dict[str, Future[Environment]] = {}

    @classmethod
    def of_function(cls) -> Self:
        """Give the platform as a function sees it: its environment has region and role."""
        return cls(LambdaGateway())

    def targets(self) -> Targets:
        """Pin the configured functions to the versions that are live now."""
        if self._functions is None:
            raise PlatformError("this platform was given no functions", "Only clients begin runs.")
        if self._concurrency is None:
            self._concurrency = self._gateway.concurrency()
        return Targets(
            executor=self._gateway.pinned(self._functions.executor),
            invoker=self._gateway.pinned(self._functions.invoker),
        )

    def probe(self, targets: Targets) -> Future[Environment]:
        """Have an Executor tell what it runs on, meanwhile; one is asked of each version."""
        known = self._probed.get(targets.executor)
        if known is None or (known.done() and known.exception() is not None):
            known = self._asking.submit(self.ask, targets, Probe())
            self._probed[targets.executor] = known
        return known

    def ask(self, targets: Targets, probe: Probe) -> Environment:
        """Have an Executor answer a probe; raises `PlatformError` if it does not."""
        answer = self._gateway.call(targets.executor, probe.to_bytes())
        return Environment.from_event(answer)

    def close(self) -> None:
        """End the thread that asks."""
        self._asking.shutdown(cancel_futures=True)

    def grouped(self, starts: Sequence[Start]) -> list[tuple[Start, ...]]:
        """Give each lineage an Executor, unless the account cannot have so many at once."""
        concurrency = self._concurrency
        if concurrency is None or len(starts) <= concurrency:
            return super().grouped(starts)
        return guided(starts, concurrency)

    def start(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
        """Start a few Executors directly, or more through the Invoker."""
        self._ramp = ramp(len(events), self._concurrency)
        begun = time.monotonic()
        if len(events) > self.threshold:
            report = self._through_invoker(events)
            self._costs.called(len(events), time.monotonic() - begun)
        else:
            report = self._directly(events, begun + 60.0)
            rounds = math.ceil(len(events) / DIRECT_CONNECTIONS)
            self._costs.started(rounds * DIRECT_CONNECTIONS, time.monotonic() - begun)
        return report

    @property
    def throttled(self) -> int:
        """How often a start was refused so far because too many functions ran, or were started."""
        return self._gateway.throttled

    def provision(self) -> Provision | None:
        """Say what Executors are given; None if that may not be asked."""
        if self._functions is None:
            return None
        return self._gateway.provision(self._functions.executor)

    @property
    def threshold(self) -> int:
        """The most Executors that are started without the Invoker."""
        return self._costs.threshold if self._direct_limit is None else self._direct_limit

    def explain(self) -> Sequence[str]:
        """Say how Executors are started here and why so, a line for each."""
        known = "not known" if self._concurrency is None else f"{self._concurrency:,}"
        how = (
            str(self._costs)
            if self._direct_limit is None
            else f"up to {self._direct_limit} Executors are started directly, as is configured"
        )
        return how, f"the account's concurrency is {known}", f"the latest start: {self._ramp}"

    def _directly(self, events: Sequence[ExecutorEvent], until: float) -> InvokerReport:
        def refusal(event: ExecutorEvent) -> str | None:
            return self._gateway.start(event.targets.executor, event.to_bytes(), until)

        if len(events) == 1:
            return InvokerReport.of([refusal(events[0])])
        with ThreadPoolExecutor(DIRECT_CONNECTIONS) as pool:
            return InvokerReport.of(list(pool.map(refusal, events)))

    def _through_invoker(self, events: Sequence[ExecutorEvent]) -> InvokerReport:
        def store() -> Storage:
            if self._store is None:
                raise StorageError("there is no storage for so large a batch", "")
            return self._store

        try:
            answer = self._call(events[0].targets.invoker, invoker_payload(events, store))
            report = InvokerReport.from_event(answer)
        except AnswerLostError as error:
            return InvokerReport.of([f"Invoker: {error}"] * len(events), unsure=len(events))
        except (PlatformError, MessageError, StorageError) as error:
            return InvokerReport.of([f"Invoker: {error}"] * len(events))
        if not report.is_of(len(events)):
            reason = "Invoker: its report is not one of this batch"
            return InvokerReport.of([reason] * len(events), unsure=len(events))
        return report

    def _call(self, invoker: str, payload: bytes) -> Any:
        try:
            return self._gateway.call(invoker, payload)
        except AnswerLostError:
            # What it has started is in the run's state, where it looks when it is asked again.
            return self._gateway.call(invoker, sent_again(payload))
