"""Wukong runs Dask task graphs on AWS Lambda, and deploys itself.

    import wukong

    with wukong.Client() as client:
        result = x.compute()

Importing this package is cheap: Dask, NumPy, boto3 and the storage client are loaded when a
`Client` is first asked for, and nothing connects or reads a file before that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = [
    "Callback",
    "Client",
    "Config",
    "Future",
    "ProgressBar",
    "WukongError",
    "__version__",
    "as_completed",
    "attach",
    "load_config",
]

_HOMES = {
    "Callback": "wukong.callbacks",
    "Client": "wukong.client",
    "Config": "wukong.config",
    "Future": "wukong.futures",
    "ProgressBar": "wukong.progress",
    "WukongError": "wukong.errors",
    "as_completed": "concurrent.futures",
    "attach": "wukong.client",
    "load_config": "wukong.config",
}

if TYPE_CHECKING:
    from concurrent.futures import as_completed

    from wukong.callbacks import Callback
    from wukong.client import Client, attach
    from wukong.config import Config, load_config
    from wukong.errors import WukongError
    from wukong.futures import Future
    from wukong.progress import ProgressBar


def __getattr__(name: str) -> object:
    """Load a public name from its home when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'wukong' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
