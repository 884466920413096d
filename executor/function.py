"""The Executor's Lambda handler: answers the ping before anything else, or runs a static schedule.

Imports that a ping does not need happen after it, so that a smoke test proves the package without
paying for Dask, and Dask is loaded once for each execution environment.
"""

from __future__ import annotations

import platform as machine
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from wukong import __version__
from wukong.messages import ExecutorEvent, Pong, is_ping, is_probe
from wukong.platform import surroundings
from wukong.platform.context import Context, inside_function
from wukong.platform.lines import log

if TYPE_CHECKING:
    from executor.modules import Carried
    from wukong.storage import Storage


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
    """
    if is_ping(event):
        return Pong("executor", __version__, machine.python_version()).to_event()
    if is_probe(event):
        from wukong.platform.environment import Probe
        from wukong.platform.probe import answer

        return answer(Probe.from_event(event)).to_event()
    message = ExecutorEvent.from_event(event)
    log(wukong="begins", run=message.run, lineages=[one.segment for one in message.starts])
    from executor.failures import refusing

    store = surroundings.store()
    with refusing(store, message.run) as told:
        told.update(_executed(message, store, context))
    log(**told)
    return told


def _executed(message: ExecutorEvent, store: Storage, context: Context) -> dict[str, Any]:
    from executor.driver import Driver
    from executor.memory import limit_memory
    from executor.place import place_of, threads_for

    if message.bundle is not None:
        _carried().use(message.bundle, partial(store.read, message.run))
    _compute_nested_in_place()
    place = place_of(context.aws_request_id)
    limit_memory(place.memory_mb)
    tally = Driver(
        message,
        store,
        surroundings.platform,
        lambda: context.get_remaining_time_in_millis() / 1000,
        place,
        start_seconds=surroundings.start_seconds(),
        threads=threads_for(place.memory_mb),
    ).execute()
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
