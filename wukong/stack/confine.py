"""Hides this machine's packages from functions of the embedded AWS that have layers.

On Lambda a function sees the standard library, what the runtime has, its layers and its code. Here
it is a process of this machine's Python, which would find all that is installed. This file is the
`sitecustomize` of such processes: Python runs it before anything else. So it imports nothing of
ours, and a function without layers keeps what this machine has.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping, MutableSequence
from typing import Any

RUNTIME = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")
"""What Lambda's Python runtime has beside the standard library."""

LAYERS = "_LAMBDA_LAYERS_DIRS"
"""The variable in which a function's process finds its layers."""


def confine(
    environment: Mapping[str, str],
    path: MutableSequence[str],
    finders: MutableSequence[Any],
    modules: MutableMapping[str, Any],
) -> None:
    """Leave the standard library and the runtime on the path, if the function has layers.

    Parameters
    ----------
    environment
        Variables of the process.
    path, finders, modules
        `sys.path`, `sys.meta_path` and `sys.modules`: what is installed may have added its own to
        each of them already, as editable installations do.
    """
    if not environment.get(LAYERS):
        return
    standard = os.path.dirname(os.__file__)
    here = os.path.dirname(os.path.abspath(__file__))
    path[:] = [standard, f"{standard}/lib-dynload", f"{here}/runtime"]
    finders[:] = [one for one in finders if str(one.__module__).startswith("_frozen_importlib")]
    for name, module in list(modules.items()):
        if "site-packages" in str(getattr(module, "__file__", "")):
            del modules[name]


if __name__ == "sitecustomize":
    confine(os.environ, sys.path, sys.meta_path, sys.modules)
