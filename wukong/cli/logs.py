"""`wukong logs`: what the functions wrote into CloudWatch for a run, and what they still write."""

from __future__ import annotations

import time
from pathlib import Path

from wukong import history
from wukong.cli.output import Output
from wukong.cli.where import full_id, stack_of, store_of
from wukong.config import Config, load_config
from wukong.errors import WukongError
from wukong.stack.logs import LogEvent, Logs
from wukong.storage import RunState

POLL_SECONDS = 1.0

LATE_SECONDS = 5.0
"""How long last lines are waited for after a run's end: CloudWatch takes seconds to show them."""


class LogsError(WukongError):
    """A run that has no logs: it did not run on Lambda."""


def logs(out: Output, run: str, file: Path | None, *, is_followed: bool) -> None:
    """Print the lines of a run; with `is_followed` go on until it has ended."""
    config = load_config(file)
    whole = _on_aws(run, config)
    found = Logs(
        _functions(config),
        region=config.aws_lambda.region,
        endpoint_url=config.aws_lambda.endpoint_url,
    )
    seen: dict[str, LogEvent] = {}
    until = time.monotonic() + LATE_SECONDS
    while True:
        new = [one for one in found.of_run(whole) if one.id not in seen]
        seen |= {one.id: one for one in new}
        for one in new:
            _print(out, one)
        if _is_running(whole, config) or new:
            until = time.monotonic() + LATE_SECONDS
        if not is_followed or time.monotonic() > until:
            break
        time.sleep(POLL_SECONDS)
    if not seen:
        out.say(f"No function has written anything for run {whole} yet.")
    out.give({"run": whole, "events": [_told(one) for one in seen.values()]})


def _on_aws(run: str, config: Config) -> str:
    """Give the run's whole id; raises `LogsError` if it is known to have run elsewhere."""
    summaries = {one.run: one for one in history.summaries()}
    known = set(summaries)
    if store := store_of(config):
        known |= set(store.runs())
        store.close()
    whole = full_id(run, known, "the store, nor in the history")
    platform = summaries[whole].platform if whole in summaries else config.platform
    if platform != "aws":
        raise LogsError(
            f"run {whole} ran on this machine, where there are no logs",
            "What its tasks print is in the terminal of its script.",
        )
    return whole


def _functions(config: Config) -> list[str]:
    names = config.aws_lambda
    if not names.retrieve_function_names_from_cloudformation:
        return [names.executor_function_name, names.invoker_function_name]
    outputs = stack_of(None, config).outputs()
    return [outputs["ExecutorFunctionName"], outputs["InvokerFunctionName"]]


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
