"""`wukong.Client`: Dask's scheduler for a computation that has no cluster.

    with wukong.Client():                   # this machine: worker processes, embedded Valkey
        x.compute()

    client = wukong.Client("wukong-config.yaml")
    x.compute(scheduler=client)

Dask takes an object for a scheduler if its type is called a Client and it has `get`
(dask.base.get_scheduler). Nothing connects before the first computation.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import dask
from dask.local import get_sync
from pydantic import ValidationError

from wukong.config import Config, ConfigError, RunOptions, load_config
from wukong.graph.normalise import assemble, normalise
from wukong.messages import Targets
from wukong.platform.context import inside_function
from wukong.platform.interface import Platform
from wukong.runs import Run
from wukong.stack.valkey import EmbeddedValkey
from wukong.storage import Storage, open_storage

PlatformName = Literal["local", "aws", "threads"]


class Client:
    """Runs Dask graphs on Executors.

    Parameters
    ----------
    config
        A configuration or the path of its file; without one, `wukong-config.yaml` of the current
        folder if there is one.
    platform
        Where functions run: `local` (this machine), `aws`, or `threads` (this process).
    stack
        Name of a CloudFormation stack whose outputs name the functions; implies `aws`.
    workers
        How many worker processes or threads the local platforms use.
    options
        Any option of a run (`max_executors`, `deadline`, ...), for all runs of this client.

    Raises
    ------
    ConfigError
        If an argument, the file or a variable of the environment cannot be used.
    """

    asynchronous = False

    def __init__(
        self,
        config: Config | str | Path | None = None,
        *,
        platform: PlatformName | None = None,
        stack: str | None = None,
        workers: int | None = None,
        **options: Any,
    ) -> None:
        self.config = _resolved(config, platform, stack, workers, options)
        self._open = ExitStack()
        self._opening = threading.Lock()
        self._storage: Storage | None = None
        self._platform: Platform | None = None

    def get(self, dsk: Any, keys: Any, **options: Any) -> Any:
        """Compute keys of a graph; Dask calls this, and so can you.

        Parameters
        ----------
        dsk
            A Dask expression or graph.
        keys
            The keys to compute, a list or nested lists.
        options
            Options of this run, as in `compute(max_executors=8)`.

        Returns
        -------
        Values in the nesting of `keys`.

        Raises
        ------
        Exception
            What a task raised, with its key and its remote traceback.
        WukongError
            For what lies outside tasks: configuration, store, platform.
        """
        if inside_function():
            # A task that computes something itself: another run would wait for its own thread.
            return get_sync(dsk, keys)
        wanted = _run_options(self.config.run, options)
        graph = normalise(dsk, keys if isinstance(keys, list) else [keys])
        storage, platform = self._connect()
        run = Run(graph, storage, platform, wanted)
        run.submit()
        run.wait()
        return assemble(graph, keys, run.gather())

    def close(self) -> None:
        """Stop what this client has started: worker processes and the embedded Valkey."""
        self._open.close()
        self._storage = self._platform = None

    def __enter__(self) -> Self:
        self._open.enter_context(dask.config.set(scheduler=self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        where: str = self.config.platform
        if where == "aws":
            names = self.config.aws_lambda
            where += (
                f", stack {names.aws_sam_app_name}"
                if names.retrieve_function_names_from_cloudformation
                else f", {names.executor_function_name}"
            )
        return f"<wukong.Client on {where}>"

    def _connect(self) -> tuple[Storage, Platform]:
        with self._opening:
            if self._storage is None or self._platform is None:
                url = self.config.store.url or self._embedded_store()
                self._storage = open_storage(url)
                self._open.callback(self._storage.close)
                self._storage.ping()
                self._platform = self._open_platform(url, self._storage)
                self._open.callback(self._platform.close)
            return self._storage, self._platform

    def _embedded_store(self) -> str:
        match self.config.platform:
            case "threads":
                return f"memory://{id(self)}"
            case "local":
                return self._open.enter_context(EmbeddedValkey()).url
        raise ConfigError(
            "store.url is not set: on aws, client and Executors meet in one store",
            "Set store.url in wukong-config.yaml (or WUKONG_STORE_URL) to the URL that the stack "
            "was given as StoreUrl.",
        )

    def _open_platform(self, url: str, storage: Storage) -> Platform:
        workers = self.config.local.workers or os.cpu_count() or 1
        match self.config.platform:
            case "threads":
                from wukong.platform.threads import ThreadsPlatform

                return ThreadsPlatform(url, workers)
            case "local":
                from wukong.platform.local import LocalPlatform

                return LocalPlatform(url, workers)
            case "aws":
                from wukong.platform.aws import AwsPlatform, LambdaGateway

                names = self.config.aws_lambda
                gateway = LambdaGateway(region=names.region, endpoint_url=names.endpoint_url)
                return AwsPlatform(gateway, self._functions(), storage, names.invoker_threshold)

    def _functions(self) -> Targets:
        names = self.config.aws_lambda
        if not names.retrieve_function_names_from_cloudformation:
            return Targets(names.executor_function_name, names.invoker_function_name)
        from wukong.stack.cloudformation import Stack

        outputs = Stack(
            names.aws_sam_app_name, region=names.region, endpoint_url=names.endpoint_url
        ).outputs()
        return Targets(outputs["ExecutorFunctionName"], outputs["InvokerFunctionName"])


def _resolved(
    config: Config | str | Path | None,
    platform: str | None,
    stack: str | None,
    workers: int | None,
    options: Mapping[str, Any],
) -> Config:
    found = config if isinstance(config, Config) else load_config(config)
    if platform is not None or stack is not None:
        found = found.model_copy(update={"platform": platform or "aws"})
    if stack is not None:
        found = found.changed(
            "aws_lambda",
            retrieve_function_names_from_cloudformation=True,
            aws_sam_app_name=stack,
        )
    if workers is not None:
        found = found.changed("local", workers=workers)
    return found.model_copy(update={"run": _run_options(found.run, options)})


def _run_options(base: RunOptions, options: Mapping[str, Any]) -> RunOptions:
    if not options:
        return base
    try:
        return RunOptions.model_validate({**base.model_dump(), **options})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"option {name}: {first['msg']} (got {first['input']!r:.80})",
            f"Options of a run are: {', '.join(sorted(RunOptions.model_fields))}.",
        ) from error
