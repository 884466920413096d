"""Which stack a verb means: by its option, else by the configuration."""

from __future__ import annotations

from wukong.config import Config, load_config
from wukong.stack.cloudformation import Stack
from wukong.stack.releases import Releases


def stack_of(name: str | None, config: Config | None = None) -> Stack:
    """Give the stack; nothing is asked of AWS yet."""
    config = config or load_config()
    return Stack(
        name or config.aws_lambda.aws_sam_app_name,
        region=config.aws_lambda.region,
        endpoint_url=config.aws_lambda.endpoint_url,
    )


def releases_of(name: str | None) -> Releases:
    """Give the releases of a stack; raises `StackError` if there is no such stack."""
    config = load_config()
    return Releases(stack_of(name, config), endpoint_url=config.aws_lambda.endpoint_url)
