"""Handlers by name: the local platforms call what Lambda would call, as a string names it.

This keeps the arrows of the house pointing downwards: nothing in `wukong` imports function code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from wukong.platform.context import Context

Handler = Callable[[object, Context], Mapping[str, Any]]

EXECUTOR = "executor.function.lambda_handler"


def load_handler(name: str) -> Handler:
    """Import a handler by the name that Lambda would be given."""
    module, _, function = name.rpartition(".")
    handler: Handler = getattr(import_module(module), function)
    return handler
