"""`wukong doctor`: findings as they come, and an exit status that says whether all is well."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import typer

from wukong.cli.output import FOUND_PROBLEMS, Output
from wukong.config import FILE, Config, ConfigError, load_config
from wukong.doctor.finding import Finding, Level, failed, ok

COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}

WIDTH = 22
INDENT = " " * (8 + 1 + WIDTH + 1)


def doctor(out: Output, stack: str | None, on_this_machine: bool, file: Path | None) -> None:
    """Examine, print, and exit with status 3 if there are problems."""
    findings = []
    for finding in _examined(stack, on_this_machine, file):
        findings.append(finding)
        _show(out, finding)
    count = Counter(finding.level for finding in findings)
    out.say(f"\n{count[Level.PROBLEM]} problems, {count[Level.WARNING]} warnings.")
    out.give(
        {
            "problems": count[Level.PROBLEM],
            "warnings": count[Level.WARNING],
            "findings": [asdict(finding) for finding in findings],
        }
    )
    if count[Level.PROBLEM]:
        raise typer.Exit(FOUND_PROBLEMS)


def _examined(stack: str | None, on_this_machine: bool, file: Path | None) -> Iterator[Finding]:
    try:
        config = load_config(file)
    except ConfigError as error:
        yield failed("configuration", error)
        return
    config = _chosen(config, stack, on_this_machine)
    source = file or (FILE if Path(FILE).exists() else "defaults and the environment")
    yield ok("configuration", f"{source}; platform {config.platform}")
    if config.platform == "aws":
        from wukong.doctor.aws import examine_aws

        yield from examine_aws(config)
    else:
        from wukong.doctor.here import examine_here

        yield from examine_here(config)


def _chosen(config: Config, stack: str | None, on_this_machine: bool) -> Config:
    if on_this_machine:
        return config.model_copy(update={"platform": "local"})
    if stack is None:
        return config
    named = config.changed(
        "aws_lambda", retrieve_function_names_from_cloudformation=True, aws_sam_app_name=stack
    )
    return named.model_copy(update={"platform": "aws"})


def _show(out: Output, finding: Finding) -> None:
    mark = typer.style(f"{finding.level.value:8}", fg=COLOURS[finding.level], bold=True)
    first, *more = _wrapped(finding.message)
    lines = [f"{mark} {finding.check:{WIDTH}} {first}", *(INDENT + line for line in more)]
    if finding.remedy:
        remedy, *more = _wrapped(finding.remedy)
        lines += [f"{INDENT}-> {remedy}", *(f"{INDENT}   {line}" for line in more)]
    typer.echo("\n".join(lines), err=out.as_json)


def _wrapped(text: str) -> list[str]:
    """Break a sentence for the terminal; where nobody looks, it stays a line."""
    if not sys.stdout.isatty():
        return [text]
    room = max(30, shutil.get_terminal_size().columns - len(INDENT) - 3)
    return textwrap.wrap(text, room) or [""]
