"""How likely it is that something goes wrong in a simulated world."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Odds:
    """How likely it is that something goes wrong: at each call to the store or start, at each look
    of a heartbeat, or once for an Executor, a task or the whole run.
    """

    crash: float = 0.0
    lost_reply: float = 0.0
    repeated: float = 0.0
    pause: float = 0.0
    lost_start: float = 0.0
    duplicate: float = 0.0
    late_start: float = 0.0
    refused: float = 0.0
    time_up: float = 0.0
    """An Executor has little time; a task of it may take longer than all before it."""
    mute: float = 0.0
    """Nothing that the heartbeat of an Executor sends arrives."""
    failing: float = 0.0
    """A task of the run raises whenever it is executed."""
    cancelled: float = 0.0
    """The run is cancelled at some moment."""
    restart: float = 0.0
    """Of the store, which then has lost what was written in its last seconds."""


CALM = Odds()
MODERATE = Odds(0.004, 0.004, 0.02, 0.01, 0.01, 0.03, 0.05, 0.01, 0.02, 0.01, 0.05, 0.05)
ROUGH = Odds(0.04, 0.03, 0.1, 0.06, 0.1, 0.15, 0.15, 0.1, 0.1, 0.05, 0.1, 0.1)
FORGETFUL = replace(ROUGH, restart=0.01)
