"""Opens what a configuration names: the platform, the functions behind it, and how many workers."""

from __future__ import annotations

import os

from wukong.config import Config
from wukong.messages import Targets
from wukong.platform.interface import Platform
from wukong.storage import Storage, open_storage


def workers_of(config: Config) -> int | None:
    """Say how many workers there are; None on aws, where there is no end to them."""
    if config.platform == "aws":
        return None
    return config.local.workers or os.cpu_count() or 1


def open_platform(
    config: Config, url: str, storage: Storage, queue_url: str | None = None
) -> Platform:
    """Open the platform that a configuration names, with the store at `url`.

    The queue of worker processes is there too, unless it has a URL of its own.
    """
    workers = workers_of(config) or 1
    match config.platform:
        case "threads":
            from wukong.platform.threads import ThreadsPlatform

            return ThreadsPlatform(url, workers, config.store.signing_key)
        case "local":
            from wukong.platform.local import LocalPlatform

            key, bundles = config.store.signing_key, config.local.bundles
            return LocalPlatform(url, workers, queue_url, bundles, key)
        case "aws":
            from wukong.platform.aws import AwsPlatform, LambdaGateway

            names = config.aws_lambda
            gateway = LambdaGateway(region=names.region, endpoint_url=names.endpoint_url)
            return AwsPlatform(gateway, _functions(config), storage, names.invoker_threshold)


def open_store(config: Config, url: str) -> Storage:
    """Open the store at `url`, signed if the configuration or the stack says with which key.

    Raises
    ------
    StackError
        If the stack is to say so and is not there.
    """
    return open_storage(url, config.store.signing_key or _signing_key_of_stack(config))


def _signing_key_of_stack(config: Config) -> str | None:
    if config.platform != "aws":
        return None
    if not config.aws_lambda.retrieve_function_names_from_cloudformation:
        return None
    return _outputs(config).get("SigningKey")


def _outputs(config: Config) -> dict[str, str]:
    from wukong.stack.cloudformation import Stack

    names = config.aws_lambda
    where = {"region": names.region, "endpoint_url": names.endpoint_url}
    return Stack(names.aws_sam_app_name, **where).outputs()


def _functions(config: Config) -> Targets:
    names = config.aws_lambda
    if not names.retrieve_function_names_from_cloudformation:
        return Targets(names.executor_function_name, names.invoker_function_name)
    outputs = _outputs(config)
    return Targets(outputs["ExecutorFunctionName"], outputs["InvokerFunctionName"])
