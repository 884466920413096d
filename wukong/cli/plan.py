"""`wukong plan`: what `deploy` would change, without changing anything.

Three things may differ: the stack (template and parameters), the package, and what the bootstrap
finds when it compares both with the functions that are live; the last it says itself.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wukong.cli import layers
from wukong.cli.deploy import Wishes, outputs_of, refuse_failure, template_file
from wukong.cli.output import Output
from wukong.cli.where import stack_of
from wukong.config import load_config
from wukong.packaging.build import build_deployment
from wukong.packaging.layers import Built, check_fit
from wukong.packaging.target import Target
from wukong.stack.cloudformation import Stack
from wukong.stack.releases import Releases
from wukong.stack.stores import kind_of, network_of

HIDDEN = "StoreUrl"
"""CloudFormation does not tell its value, so whether it changes cannot be known."""


def plan(out: Output, wishes: Wishes) -> None:
    """Say what would change."""
    config = load_config()
    where = stack_of(wishes.stack, config)
    given = wishes.given(config, kind_of(outputs_of(where)))
    template = (wishes.template or template_file()).read_text(encoding="utf-8")
    found = where.describe()
    references, over = wishes.references(config, where)
    names = layers.names_of(references)
    with tempfile.TemporaryDirectory() as folder:
        built = layers.build(out, references, wishes.target(config), Path(folder), over)
        code = _code_sha256(wishes, wishes.target(config), names, built)
    if found is None:
        lines = [f"stack {where.name} would be created", *_network(where, given)]
        lines += [f"parameter {k}: {_shown(k, v)}" for k, v in sorted(given.items())]
        lines += [f"layer {name} would be attached" for name in names]
        _tell(out, where.name, [*lines, f"package {code[:12]} would be the first release"], [])
        return
    stack = _network(where, given) + _stack_changes(where, found, given, template)
    releases = Releases(where, endpoint_url=config.aws_lambda.endpoint_url)
    live = releases.status()
    if live.code_sha256 != code:
        stack.append(f"package: {(live.code_sha256 or 'none')[:12]} -> {code[:12]}")
    stack += [
        f"layer {one.name}: {one.archive.sha256[:12]} would be uploaded"
        for one in built.layers
        if not releases.has_layer(one.name, one.archive.sha256)
    ]
    stack += [
        f"bundle {one.name}: {one.digest[:12]} would be uploaded"
        for one in built.bundles
        if releases.missing_parts(one.parts)
    ]
    answer = releases.ask({"action": "plan"})
    refuse_failure(answer)
    _tell(out, where.name, stack, list(answer.answer.get("plan", [])) or [_message(answer.answer)])


def _tell(out: Output, stack: str, changes: list[str], bootstrap: list[str]) -> None:
    out.say(f"`wukong deploy` would change of stack {stack}:")
    for line in changes or ["nothing"]:
        out.say(f"  {line}")
    if bootstrap:
        out.say("With the package that is in the bucket now, the bootstrap would:")
        for line in bootstrap:
            out.say(f"  {line}")
    out.give({"stack": stack, "changes": changes, "bootstrap": bootstrap})


def _message(answer: Mapping[str, Any]) -> str:
    return f"{answer['status']}: {answer['message']}"


def _network(where: Stack, given: Mapping[str, str]) -> list[str]:
    name = network_of(given)
    if name is None or where.sibling(name).describe() is not None:
        return []
    return [f"stack {name} would be created: a VPC with a cache"]


def _stack_changes(
    where: Stack, found: Mapping[str, Any], given: Mapping[str, str], template: str
) -> list[str]:
    has = {one["ParameterKey"]: one["ParameterValue"] for one in found.get("Parameters", [])}
    changes = [
        f"parameter {key}: {has.get(key, 'not set')} -> {value}"
        for key, value in sorted(given.items())
        if key != HIDDEN and has.get(key) != value
    ]
    if _without_code(where.template()) != _without_code(template):
        changes.append("template: differs")
    return changes


def _without_code(template: str) -> list[str]:
    """Give the template's lines but for the place of the bootstrap's code, which is uploaded."""
    return [line for line in template.splitlines() if not line.strip().startswith("CodeUri:")]


def _code_sha256(wishes: Wishes, target: Target, names: Sequence[str], built: Built) -> str:
    """Give the hash of the package, as Lambda knows it; it is built if it was not given.

    Raises
    ------
    LayerError
        If it does not fit with its layers.
    """
    if wishes.package is not None:
        data = wishes.package.read_bytes()
    else:
        with tempfile.TemporaryDirectory() as folder:
            zipped = Path(folder) / "deployment.zip"
            deployment = build_deployment(target, zipped, names, built.bundles)
            check_fit(deployment, built.layers)
            data = deployment.path.read_bytes()
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _shown(key: str, value: str) -> str:
    return "(given)" if key == HIDDEN else value
