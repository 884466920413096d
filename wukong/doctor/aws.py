"""The doctor for a stack in an account, real or embedded.

credentials ─> stack ─> release ─> functions ─> rights ─> store ─> an Executor's own answer ─> a run

What stops later checks ends the examination: without credentials there is nothing to ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wukong.compatibility import differences
from wukong.config import Config
from wukong.doctor.account import Account, AccountError
from wukong.doctor.finding import Check, Finding, failed, ok, problem, version_findings, warning
from wukong.doctor.trial import trial
from wukong.errors import WukongError
from wukong.messages import Targets
from wukong.opening import located
from wukong.platform.aws import LambdaGateway
from wukong.platform.environment import Environment, Probe
from wukong.platform.probe import environment_here
from wukong.platform.ramp import ramp
from wukong.stack.cloudformation import Stack
from wukong.stack.releases import Releases
from wukong.stack.stores import kind_of
from wukong.storage import open_storage

UNZIPPED_BYTES = 262_144_000
"""What code and layers may have together.
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

FULL = 0.9
"""From this share on, the next release of a package may not fit."""

FEW = 100
"""With less concurrency than this, one machine may be faster."""

DEPLOY = "Deploy: `wukong deploy`."


@dataclass(frozen=True, slots=True)
class Live:
    """The functions that runs use, and what they lead to."""

    names: Targets
    executor: dict[str, Any]
    invoker: dict[str, Any]

    @property
    def pairs(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """Give each name with its configuration."""
        return (self.names.executor, self.executor), (self.names.invoker, self.invoker)


def examine_aws(config: Config) -> Iterator[Finding]:
    """Look at everything that a run on AWS needs."""
    account = yield from credentials(config)
    if account is None:
        return
    names = yield from stack(config)
    if names is None:
        return
    live = yield from functions(account, names)
    if live is None:
        return
    yield from recursion(account, live)
    yield from concurrency(account, live)
    yield from roles(account, live)
    yield from store(config)
    there = yield from executor(config, live)
    if there is not None:
        yield from surroundings(there)
        yield from trial(
            config.changed("aws_lambda", invoker_threshold=0),
            "`wukong logs` and the log groups of both functions tell why. The Executor's and the "
            "Invoker's role must be allowed lambda:InvokeFunction on both functions, with and "
            "without a version.",
        )


def credentials(config: Config) -> Check[Account | None]:
    """See who we are, and where."""
    where = config.aws_lambda
    try:
        account = Account(region=where.region, endpoint_url=where.endpoint_url)
        who = account.identity()
    except AccountError as error:
        yield failed("credentials", error)
        return None
    yield ok("credentials", f"{who} in {account.region}, at {account.endpoint_url}")
    return account


def stack(config: Config) -> Check[Targets | None]:
    """See the stack and its release; gives the functions' names."""
    names = config.aws_lambda
    if not names.retrieve_function_names_from_cloudformation:
        yield ok("stack", "not asked: the configuration names the functions")
        return Targets(names.executor_function_name, names.invoker_function_name)
    where = Stack(names.aws_sam_app_name, region=names.region, endpoint_url=names.endpoint_url)
    try:
        found = where.describe()
    except WukongError as error:
        yield failed("stack", error)
        return None
    if found is None:
        yield problem("stack", f"there is no stack {where.name!r} in {where.region}", DEPLOY)
        return None
    status = str(found["StackStatus"])
    if status in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
        yield ok("stack", f"{where.name} is {status}")
    else:
        remedy = "Its events tell why; cure that and deploy again (docs/runbook.md)."
        yield warning("stack", f"{where.name} is {status}", remedy)
    outputs = where.outputs()
    if kind := kind_of(outputs):
        yield ok("storage", f"{kind.value}: {outputs.get('StoreUrl') or 'no address yet'}")
    if not {"ExecutorFunctionName", "InvokerFunctionName"} <= outputs.keys():
        yield problem("stack", f"{where.name} names no functions", "Delete it and deploy again.")
        return None
    yield from release(where, names.endpoint_url)
    return Targets(outputs["ExecutorFunctionName"], outputs["InvokerFunctionName"])


def release(where: Stack, endpoint_url: str | None) -> Check[None]:
    """See what the bootstrap says: both functions live, of one release, and as wanted."""
    try:
        answer = Releases(where, endpoint_url=endpoint_url).status()
    except WukongError as error:
        yield failed("release", error)
        return
    if answer.status != "LIVE":
        hint = "Deploy again: `wukong deploy`; docs/runbook.md has each error."
        yield problem("release", f"{answer.status}: {answer.answer['message']}", hint)
        return
    yield ok("release", str(answer.answer["message"]))
    for one in answer.answer["functions"].values():
        for line in one["drift"]:
            yield warning("drift", f"{one['name']}: {line}", f"Put it right: {DEPLOY.lower()}")


def functions(account: Account, names: Targets) -> Check[Live | None]:
    """See both functions."""
    found = []
    for name in (names.executor, names.invoker):
        try:
            one = account.function(name)
        except AccountError as error:
            yield failed("functions", error)
            return None
        if one is None:
            yield problem("functions", f"{name} is not there", DEPLOY)
        elif one.get("State", "Active") not in {"Active", "Inactive"}:
            reason = one.get("StateReason") or one.get("State")
            yield problem("functions", f"{name}: {reason}", f"{DEPLOY} docs/runbook.md says more.")
        else:
            found.append(dict(one))
    if len(found) < 2:
        return None
    versions = " and ".join(f"{one['FunctionName']}:{one['Version']}" for one in found)
    yield ok("functions", f"{versions} are active")
    return Live(names, *found)


def recursion(account: Account, live: Live) -> Check[None]:
    """See that Lambda does not stop Executors that start each other."""
    for name, _ in live.pairs:
        try:
            allowed = account.allows_recursion(name)
        except AccountError as error:
            yield warning("recursion", error.message, "Allow it, so that it can be checked.")
            continue
        if allowed:
            yield ok("recursion", f"{name.partition(':')[0]} may start itself")
        else:
            message = f"Lambda stops {name.partition(':')[0]} after 16 calls in a row"
            yield problem("recursion", message, f"RecursiveLoop must be Allow. {DEPLOY}")


def concurrency(account: Account, live: Live) -> Check[None]:
    """See how many Executors can run at once."""
    raise_it = "Ask for more: Service Quotas, AWS Lambda, Concurrent executions (L-B99A9384)."
    try:
        quota = account.concurrency()
        reserved = account.reserved(live.names.executor)
    except AccountError as error:
        yield warning("concurrency", error.message, "Allow it, so that it can be checked.")
        return
    if reserved == 0:
        message = "0 is reserved for the Executor, so that none can start"
        yield problem("concurrency", message, "Remove the reserved concurrency of the function.")
        return
    most = reserved or quota
    message = f"up to {most:,} Executors at once; of 10,000: {ramp(10_000, most)}"
    yield ok("concurrency", message) if most >= FEW else warning("concurrency", message, raise_it)


def roles(account: Account, live: Live) -> Check[None]:
    """See that both roles may start Executors, by their policies; the trial run does it."""
    wanted = [one["FunctionArn"] for _, one in live.pairs]
    for name, one in live.pairs:
        try:
            denied = account.denied(one["Role"], "lambda:InvokeFunction", wanted)
        except AccountError:
            yield ok("roles", f"{name}: policies may not be simulated; the trial run tells")
            continue
        if denied:
            remedy = f"Give {one['Role']} lambda:InvokeFunction on it. {DEPLOY}"
            yield problem("roles", f"{name} may not start {', '.join(denied)}", remedy)
        else:
            yield ok("roles", f"{name} may start Executors and the Invoker")


def store(config: Config) -> Check[None]:
    """See that the client reaches the store."""
    try:
        store = located(config).store
        url = store.url
        if not url:
            remedy = "Set store.url, or WUKONG_STORE_URL, to the URL that the functions have."
            yield problem("store from here", "store.url is not set", remedy)
            return
        storage = open_storage(url, store.signing_key)
        storage.ping()
        storage.close()
    except WukongError as error:
        yield failed("store from here", error)
    else:
        yield ok("store from here", "it answers")


def executor(config: Config, live: Live) -> Check[Environment | None]:
    """Have an Executor tell what it runs on, and whether it reaches the store."""
    where = config.aws_lambda
    gateway = LambdaGateway(region=where.region, endpoint_url=where.endpoint_url)
    try:
        name = gateway.pinned(live.names.executor)
        answer = gateway.call(name, Probe(thorough=True).to_bytes())
        there = Environment.from_event(answer)
    except WukongError as error:
        yield failed("executor", error)
        return None
    memory = f"{there.memory_bytes / (1 << 20):,.0f} MB, {there.processors} processors"
    yield ok("executor", f"it answers: Python {there.python} on {there.machine}, {memory}")
    if there.store:
        remedy = (
            "Its StoreUrl must be right, and its subnets and security groups must let it through: "
            "`wukong deploy --store-url URL -p SubnetIds=... -p SecurityGroupIds=...`, or let the "
            "stack make one: `wukong deploy --storage dynamodb`."
        )
        yield problem("store from an Executor", there.store.splitlines()[0], remedy)
        return None
    yield ok("store from an Executor", "it answers")
    return there


def surroundings(there: Environment) -> Check[None]:
    """Compare versions, and see whether code and layers have room."""
    here = environment_here()
    names = ", ".join(f"{name} {version}" for name, version in sorted(there.versions.items()))
    yield from version_findings(
        "versions", differences(here, there), f"alike: Python {here.python}, {names}"
    )
    for name in sorted({"dask", "numpy"} - there.versions.keys()):
        remedy = "Add a layer that has it: `wukong deploy --layers ...` (docs/surroundings.md)."
        yield problem("versions", f"Executors have no {name}", remedy)
    if there.unzipped_bytes is not None:
        share = there.unzipped_bytes / UNZIPPED_BYTES
        message = f"code and layers have {there.unzipped_bytes / 1e6:,.0f} MB of 262 MB"
        remedy = "Leave out what no task needs, or build the layers without bytecode."
        is_fine = share < FULL
        yield ok("layers", message) if is_fine else warning("layers", message, remedy)
