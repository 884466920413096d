"""The Executor's Lambda handler: answers the ping before anything else, or runs a static schedule.

Imports that a ping does not need happen after it, so that a smoke test proves the package without
paying for Dask, and Dask is loaded once for each execution environment.
"""

from __future__ import annotations

import sys
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from wukong import __version__
from wukong.messages import ExecutorEvent, Pong, is_ping, is_probe
from wukong.platform import surroundings
from wukong.platform.context import Context, inside_function
from wukong.platform.lines import Lines, is_first
from wukong.platform.tracing import Attributes, serving

if TYPE_CHECKING:
    from executor.modules import Carried
    from executor.work import Tally

SHOWN = 100
"""So many of its lineages an Executor names in its log; on Lambda it has few."""


def lambda_handler(event: object, context: Context) -> dict[str, Any]:
    """Run what the event asks for; answers with counts, results go through storage.

    Raises
    ------
    MessageError
        If the event is not of this protocol.
    StorageError
        If the store cannot be reached.
    SigningKeyError
        If the key that everything in the store is signed with cannot be read.
    BundleError
        If the release has overflow bundles and its manifest cannot be read.
    """
    cold = is_first()
    if is_ping(event):
        return Pong("executor", __version__, _python()).to_event()
    if is_probe(event):
        from wukong.platform.environment import Probe
        from wukong.platform.probe import answer

        return answer(Probe.from_event(event)).to_event()
    message = ExecutorEvent.from_event(event)
    lines = Lines("executor", message.run, context.aws_request_id, cold=cold)
    named = [f"{one.segment}.{one.epoch}" for one in message.starts[:SHOWN]]
    lines.say("begins", lineages=named, of=len(message.starts), reason=message.reason)
    with serving("wukong.executor", message.trace, _about(message, context, cold=cold)) as trace:
        tally = _execute(message, context, lines, cold=cold)
        trace.note({"wukong.segments": len(tally.segments)})
        trace.end(tally.refused)
    if tally.refused is not None:
        return {"wukong": "refused", "run": message.run, "why": tally.refused.message}
    return {
        "wukong": "executed",
        "run": message.run,
        "lineages": tally.lineages,
        "stopped": tally.stopped,
        "segments": len(tally.segments),
        "handed_off": tally.handed_off,
        "passed_on": tally.passed_on,
        "kept": tally.kept,
    }


def _about(message: ExecutorEvent, context: Context, *, cold: bool) -> Attributes:
    """Say in attributes of a span which invocation this is."""
    return {
        "wukong.run": message.run,
        "wukong.lineages": len(message.starts),
        "wukong.reason": message.reason,
        "wukong.hop": message.hop,
        "faas.invocation_id": context.aws_request_id,
        "faas.coldstart": cold,
    }


def _execute(message: ExecutorEvent, context: Context, lines: Lines, *, cold: bool) -> Tally:
    from executor import overflow

    # Before Dask: whatever is imported from now on may be in a bundle.
    overflow.install(lines)
    from executor.driver import Driver
    from executor.memory import limit_memory
    from executor.place import place_of, threads_for
    from wukong.platform.traced import traced
    from wukong.storage.signing import SignatureError

    store = traced(surroundings.store())
    place = place_of(context.aws_request_id)
    limit_memory(place.memory_mb)
    driver = Driver(
        message,
        store,
        surroundings.platform,
        lambda: context.get_remaining_time_in_millis() / 1000,
        place,
        start_seconds=surroundings.start_seconds(),
        threads=threads_for(place.memory_mb),
        lines=lines,
    )
    try:
        if message.bundle is not None:
            _carried().use(message.bundle, partial(store.read, message.run))
        _compute_nested_in_place()
        return driver.execute()
    except SignatureError as error:
        return driver.refuse(error)
    finally:
        lines.measure("executed", _metrics(driver.tally, cold=cold))


def _metrics(tally: Tally, *, cold: bool) -> dict[str, float]:
    """Give what CloudWatch is to know of an invocation; docs/watching.md says what each means."""
    return {
        "Segments": len(tally.segments),
        "TasksFailed": tally.failed,
        "BytesStored": tally.stored,
        "BusySeconds": round(tally.busy, 3),
        "ColdStarts": int(cold),
        "Lineages": tally.lineages,
        "Stopped": tally.stopped,
        "Fenced": tally.fenced,
        "Started": tally.handed_off,
        "Throttled": tally.throttled,
    }


def _python() -> str:
    """Give the version of Python; `platform` would take some milliseconds to be imported."""
    return ".".join(map(str, sys.version_info[:3]))


@cache
def _carried() -> Carried:
    """Keep what is unpacked while the environment is warm."""
    from executor.modules import Carried

    return Carried()


def _compute_nested_in_place() -> None:
    """Have `compute` calls inside tasks run where they are, in one thread.

    Dask's configuration is the process's. Where that is the user's own program (the threads
    platform), it is left alone and the client sees to the same.
    """
    if not inside_function():
        import dask

        dask.config.set(scheduler="sync")
