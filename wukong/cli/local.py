"""`wukong local up|env|down`: the embedded AWS on this machine."""

from __future__ import annotations

import shlex

from rich.console import Console

from wukong.stack import supervisor
from wukong.stack.embedded import EmbeddedAwsError


def up() -> None:
    """Start it and say how to use it."""
    state = supervisor.up()
    console = Console()
    console.print(f"The embedded AWS is up at {state.environment['AWS_ENDPOINT_URL']}.")
    console.print('Use it in this shell:  eval "$(wukong local env)"', highlight=False)
    console.print(f"Its log, with what functions print: {state.log}", highlight=False)


def env() -> None:
    """Print `export` lines; raises `EmbeddedAwsError` if it is not up."""
    state = supervisor.running()
    if state is None:
        raise EmbeddedAwsError("the embedded AWS is not up", "Start it: wukong local up.")
    for name, value in sorted(state.environment.items()):
        print(f"export {name}={shlex.quote(value)}")  # noqa: T201 - for the shell, not for people


def down() -> None:
    """Stop it and say so."""
    ended = supervisor.down()
    Console().print("The embedded AWS has ended." if ended else "The embedded AWS was not up.")
