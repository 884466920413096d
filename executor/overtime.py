"""What is done about a task that takes long: nobody waits for it, and it does not die unnamed.

While a task runs its thread can do nothing else, so the heartbeat's thread looks once a second.
Children that were kept, as they were thought to be short, are handed off. When the time of the
invocation ends, its lineages are left to Executors that are started for them, with all of the time;
where a task has had all of it already, it fits into no invocation, and the run ends.
"""

from __future__ import annotations

from collections.abc import Sequence

from executor.heartbeat import Heartbeat
from executor.walker import Limits, Walker
from executor.work import Work
from wukong.messages import Reason

LONG_SECONDS = 1.0

LAST_SECONDS = 3.0
"""Left for telling others."""


class Overtime:
    """Looks after the threads of one Executor."""

    def __init__(
        self, work: Work, heartbeat: Heartbeat, walkers: Sequence[Walker], limits: Limits
    ) -> None:
        self._work = work
        self._heartbeat = heartbeat
        self._walkers = walkers
        self._limits = limits
        self._begun = work.clock.now()
        self._is_over = False

    def look(self) -> None:
        """Look once; raises what the store and the platform raise."""
        now = self._work.clock.now()
        # Read once: a task may end meanwhile.
        since = [(one, one.since) for one in self._walkers]
        long = [one for one, began in since if began and now - began > LONG_SECONDS]
        if long and (kept := self._work.release()):
            self._work.hand_off(kept, Reason.FAN_OUT)
        if long and not self._is_over and self._limits.seconds_left() < LAST_SECONDS:
            self._is_over = True
            self._end(long[0], now)

    def _end(self, walker: Walker, now: float) -> None:
        if not self._work.tally.segments:
            self._work.fail(
                walker.task,
                f"it has run for {now - self._begun:.0f} s, and does not fit into one invocation: "
                "give the function more time (Lambda's limit is 900 s), or have smaller tasks",
            )
            return
        self._work.rest()
        self._work.pass_on(self._heartbeat.lineages())
