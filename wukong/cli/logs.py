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
from wukong.record import Summary
from wukong.stack.logs import LogEvent, Logs, insights, of_file
from wukong.storage import RunState

POLL_SECONDS = 1.0

MARGIN_SECONDS = 60.0
"""So far the clocks of a client and of CloudWatch may be apart."""

LATE_SECONDS = 5.0
"""How long last lines are waited for after a run's end: CloudWatch takes seconds to show them."""


class LogsError(WukongError):
    """A run that has no logs: it ran on this machine, and nobody asked for any."""


def logs(out: Output, run: str, file: Path | None, *, is_followed: bool) -> None:
    """Print the lines of a run; with `is_followed` go on until it has ended."""
    config = load_config(file)
    whole, summary = _found(run, config)
    if _is_here(summary, config):
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
    whole, summary = _found(run, config)
    if _is_here(summary, config):
        raise LogsError(f"run {whole} ran on this machine", "Its lines are not in CloudWatch.")
    logs = _logs(config)
    groups = logs.groups()
    words = ["aws", "logs", "start-query", "--log-group-names", *groups]
    since, now = _began(whole, summary, logs) - MARGIN_SECONDS, time.time()
    words += ["--start-time", f"{since:.0f}", "--end-time", f"{now:.0f}"]
    command = shlex.join([*words, "--query-string", insights(whole)])
    out.say(f"In CloudWatch, Logs Insights, for {', '.join(groups)}:\n\n{insights(whole)}\n")
    out.say(f"Or here, from the run's beginning until now:\n\n{command}\n")
    out.say("and with the id that it gives: aws logs get-query-results --query-id ID")
    out.give({"run": whole, "groups": groups, "query": insights(whole), "command": command})


def _began(run: str, summary: Summary | None, logs: Logs) -> float:
    """Give when a run began, in seconds since 1970: as its record says, or the functions' lines."""
    if summary is not None and summary.started:
        return summary.started
    return min((one.at / 1000 for one in logs.of_run(run)), default=time.time())


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


def _found(run: str, config: Config) -> tuple[str, Summary | None]:
    """Give the run's whole id, and its summary if its record is here."""
    summaries = {one.run: one for one in history.summaries()}
    known = set(summaries)
    if store := store_of(config):
        known |= set(store.runs())
        store.close()
    whole = full_id(run, known, "the store, nor in the history")
    return whole, summaries.get(whole)


def _is_here(summary: Summary | None, config: Config) -> bool:
    """Tell whether a run is known to have run on this machine."""
    return (config.platform if summary is None else summary.platform) != "aws"


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
