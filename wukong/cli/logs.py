"""`wukong logs`: what the functions wrote for a run, and what they still write."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path

from wukong import history
from wukong.cli.output import Output
from wukong.cli.where import full_id, stack_of, store_of
from wukong.config import Config, load_config
from wukong.errors import WukongError
from wukong.platform.lines import FILE
from wukong.stack.logs import LogEvent, Logs, insights, of_file
from wukong.storage import RunState

POLL_SECONDS = 1.0

WEEK_SECONDS = 7 * 86_400

LATE_SECONDS = 5.0
"""How long last lines are waited for after a run's end: CloudWatch takes seconds to show them."""


class LogsError(WukongError):
    """A run that has no logs: it ran on this machine, and nobody asked for any."""


def logs(out: Output, run: str, file: Path | None, *, is_followed: bool) -> None:
    """Print the lines of a run; with `is_followed` go on until it has ended."""
    config = load_config(file)
    whole, is_here = _found(run, config)
    if is_here:
        _give(out, whole, of_file(_own_file(whole), whole))
        return
    found = _logs(config)
    if is_followed:
        _follow(out, whole, found, config)
    else:
        _give(out, whole, found.of_run(whole))


def _follow(out: Output, run: str, found: Logs, config: Config) -> None:
    """Print lines as they come, until the run has ended and no more do."""
    seen: dict[str, LogEvent] = {}
    until = time.monotonic() + LATE_SECONDS
    while time.monotonic() <= until:
        new = [one for one in found.of_run(run) if one.id not in seen]
        seen |= {one.id: one for one in new}
        for one in new:
            _print(out, one)
        if _is_running(run, config) or new:
            until = time.monotonic() + LATE_SECONDS
        time.sleep(POLL_SECONDS)
    out.give(_events(run, list(seen.values())))


def query(out: Output, run: str, file: Path | None) -> None:
    """Print the query of Logs Insights that shows a run, and the command that asks it."""
    config = load_config(file)
    whole, is_here = _found(run, config)
    if is_here:
        raise LogsError(f"run {whole} ran on this machine", "Its lines are not in CloudWatch.")
    groups = _logs(config).groups()
    words = ["aws", "logs", "start-query", "--log-group-names", *groups]
    now = round(time.time())
    words += ["--start-time", f"{now - WEEK_SECONDS}", "--end-time", f"{now}"]
    command = shlex.join([*words, "--query-string", insights(whole)])
    out.say(f"In CloudWatch, Logs Insights, for {', '.join(groups)}:\n\n{insights(whole)}\n")
    out.say(f"Or here, for the last seven days:\n\n{command}")
    out.give({"run": whole, "groups": groups, "query": insights(whole), "command": command})


def _logs(config: Config) -> Logs:
    return Logs(
        _functions(config),
        region=config.aws_lambda.region,
        endpoint_url=config.aws_lambda.endpoint_url,
    )


def _give(out: Output, run: str, events: list[LogEvent]) -> None:
    for one in events:
        _print(out, one)
    if not events:
        out.say(f"No function has written anything for run {run} yet.")
    out.give(_events(run, events))


def _events(run: str, events: list[LogEvent]) -> dict[str, object]:
    return {"run": run, "events": [_told(one) for one in events]}


def _found(run: str, config: Config) -> tuple[str, bool]:
    """Give the run's whole id, and whether it is known to have run on this machine."""
    summaries = {one.run: one for one in history.summaries()}
    known = set(summaries)
    if store := store_of(config):
        known |= set(store.runs())
        store.close()
    whole = full_id(run, known, "the store, nor in the history")
    platform = summaries[whole].platform if whole in summaries else config.platform
    return whole, platform != "aws"


def _own_file(run: str) -> Path:
    """Give the file that functions of this machine write into; raises `LogsError` without one."""
    if not (named := os.environ.get(FILE)):
        raise LogsError(
            f"run {run} ran on this machine, where there are no logs unless {FILE} names a file",
            f"Set {FILE} for its script and for this. What its tasks print is in its terminal.",
        )
    return Path(named)


def _functions(config: Config) -> list[str]:
    """Name the functions; the Bootstrap's log tells of a run if its lines name it."""
    names = config.aws_lambda
    if not names.retrieve_function_names_from_cloudformation:
        return [names.executor_function_name, names.invoker_function_name]
    outputs = stack_of(None, config).outputs()
    wanted = ("ExecutorFunctionName", "InvokerFunctionName", "BootstrapFunctionName")
    return [outputs[name] for name in wanted if name in outputs]


def _is_running(run: str, config: Config) -> bool:
    store = store_of(config)
    if store is None:
        return False
    try:
        return store.status(run).state is RunState.RUNNING
    finally:
        store.close()


def _print(out: Output, one: LogEvent) -> None:
    if not out.as_json:
        clock = time.strftime("%H:%M:%S", time.localtime(one.at / 1000))
        out.say(f"{clock}.{one.at % 1000:03d} {one.function} {one.request[:8]} {one.text}")


def _told(one: LogEvent) -> dict[str, object]:
    return {
        "at": one.at,
        "function": one.function,
        "request": one.request,
        "text": one.text,
    }
