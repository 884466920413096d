"""`wukong local up|env|down|status`: the embedded AWS on this machine."""

from __future__ import annotations

import os
import shlex

from wukong.cli.output import Output
from wukong.stack import supervisor
from wukong.stack.embedded import EmbeddedAwsError


def up(out: Output) -> None:
    """Start it and say how to use it."""
    state = supervisor.up()
    out.say(f"The embedded AWS is up at {state.environment['AWS_ENDPOINT_URL']}.")
    out.say('Use it in this shell:  eval "$(wukong local env)"')
    out.say(f"Its log, with what functions print: {state.log}")
    out.give(_told(state))


def env(out: Output) -> None:
    """Print `export` lines; raises `EmbeddedAwsError` if it is not up."""
    state = supervisor.running()
    if state is None:
        raise EmbeddedAwsError("the embedded AWS is not up", "Start it: wukong local up.")
    out.give(state.environment)
    if not out.as_json:
        for name, value in sorted(state.environment.items()):
            print(f"export {name}={shlex.quote(value)}")  # noqa: T201 - for the shell, not people


def down(out: Output) -> None:
    """Stop it and say so."""
    ended = supervisor.down()
    out.say("The embedded AWS has ended." if ended else "The embedded AWS was not up.")
    out.give({"ended": ended})


def status(out: Output) -> None:
    """Say whether it is up, and whether this shell leads to it."""
    state = supervisor.running()
    if state is None:
        out.say("The embedded AWS is not up; `wukong local up` starts it.")
    else:
        out.say(f"The embedded AWS is up at {state.environment['AWS_ENDPOINT_URL']}.")
        how = "uses it" if _is_used(state) else 'does not use it: eval "$(wukong local env)"'
        out.say(f"This shell {how}.")
        out.say(f"Its log, with what functions print: {state.log}")
    out.give(_told(state))


def _told(state: supervisor.Running | None) -> dict[str, object]:
    if state is None:
        return {"up": False, "used_here": False}
    return {
        "up": True,
        "used_here": _is_used(state),
        "endpoint_url": state.environment["AWS_ENDPOINT_URL"],
        "pid": state.pid,
        "log": state.log,
    }


def _is_used(state: supervisor.Running) -> bool:
    name = "AWS_ENDPOINT_URL"
    return os.environ.get(name) == state.environment[name]
