"""Opens what a configuration names: platform, functions, store, and how many workers."""

from __future__ import annotations

import os

from wukong.config import Config, ConfigError, RunOptions, Store
from wukong.messages import Targets
from wukong.platform.interface import Platform
from wukong.storage import Storage


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
            functions = Targets(names.executor_function_name, names.invoker_function_name)
            return AwsPlatform(gateway, functions, storage, names.invoker_threshold)


def located(config: Config) -> Config:
    """Give the configuration with what the stack knows: the functions' names, and the store.

    Without a stack to ask it is as it was.

    Raises
    ------
    StackError
        If there is no such stack, or it may not be asked.
    """
    names = config.aws_lambda
    if config.platform != "aws" or not names.retrieve_function_names_from_cloudformation:
        return config
    from wukong.stack.cloudformation import Stack
    from wukong.stack.stores import store_url

    stack = Stack(names.aws_sam_app_name, region=names.region, endpoint_url=names.endpoint_url)
    outputs = stack.outputs()
    found = config.changed(
        "aws_lambda",
        retrieve_function_names_from_cloudformation=False,
        executor_function_name=outputs["ExecutorFunctionName"],
        invoker_function_name=outputs["InvokerFunctionName"],
    )
    return found.changed(
        "store",
        url=store_url(stack, outputs, config.store.url),
        signing_key=config.store.signing_key or outputs.get("SigningKey"),
        keep_days=outputs.get("StoreDays", config.store.keep_days),
    )


DAY_SECONDS = 86_400


def check_kept(options: RunOptions, store: Store) -> None:
    """Refuse a run that is to be kept for longer than the store's bucket keeps objects.

    Items of the table would still say where its large outputs are when these have gone.

    Raises
    ------
    ConfigError
        That names both times.
    """
    days = -(-options.keep_seconds // DAY_SECONDS)
    if store.keep_days is None or days <= store.keep_days:
        return
    raise ConfigError(
        f"option keep_seconds: the run is to be kept for {options.keep_seconds:,} s, and the "
        f"store's bucket deletes objects after {store.keep_days} days",
        f"Deploy it with `wukong deploy -p StoreDays={days}` (a bucket of your own: change its "
        "lifecycle rule, and store.keep_days), or give less keep_seconds.",
    )
