"""How a client and its runs look: plain text for terminals, HTML for notebooks.

Looking costs nothing: nothing here connects, or asks AWS for anything.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from urllib.parse import urlsplit, urlunsplit

from wukong.config import Config
from wukong.cost import Cost, Tariff, endpoint_of, region_of

Rows = Sequence[tuple[str, str]]


def client_text(config: Config, spent: Cost) -> str:
    """Say in a line where a client computes, and what it has cost."""
    return f"<wukong.Client on {_place(config)}; spent {spent.headline}>"


def client_html(config: Config, tariff: Tariff, spent: Cost) -> str:
    """Show where a client computes, what that costs and what it has cost, as a small table."""
    return table("wukong.Client", client_rows(config, tariff, spent))


def client_rows(config: Config, tariff: Tariff, spent: Cost) -> Rows:
    """Say where a client computes, what that costs and what it has cost."""
    return [
        ("runs on", _place(config)),
        ("store", safe_url(config.store.url) if config.store.url else _own_store(config)),
        ("costs", _price(tariff)),
        ("spent", spent.headline),
    ]


def _price(tariff: Tariff) -> str:
    where = f"{tariff.architecture}, {tariff.region}, {tariff.prices.lambda_.dated}"
    price = (
        f"${tariff.executor_second:.9f} for a second of an Executor of {tariff.memory_mb:,} MB "
        f"(${tariff.gb_second:.10f} a GB-second: {where})"
    )
    return price if tariff.billed else f"nothing here; on Lambda {price}"


def table(title: str, rows: Rows) -> str:
    """Give a title and rows of two columns as HTML."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for name, value in rows
    )
    return f"<div><b>{escape(title)}</b><table>{cells}</table></div>"


def safe_url(url: str) -> str:
    """Give a URL without the password in it."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))


def _place(config: Config) -> str:
    if config.platform != "aws":
        workers = config.local.workers or os.cpu_count() or 1
        kind = "worker processes" if config.platform == "local" else "threads of this process"
        return f"{config.platform}, {workers} {kind}"
    names = config.aws_lambda
    functions = (
        f"stack {names.aws_sam_app_name}"
        if names.retrieve_function_names_from_cloudformation
        else f"{names.executor_function_name} and {names.invoker_function_name}"
    )
    endpoint = endpoint_of(config)
    emulated = f", at {safe_url(endpoint)}" if endpoint else ""
    return f"aws, {region_of(config)}, {functions}{emulated}"


def _own_store(config: Config) -> str:
    match config.platform:
        case "threads":
            return "memory of this process"
        case "local":
            return "embedded Valkey"
    names = config.aws_lambda
    if names.retrieve_function_names_from_cloudformation:
        return f"as stack {names.aws_sam_app_name} says"
    return "not set (store.url)"
