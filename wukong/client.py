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
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from weakref import WeakSet

import dask
from dask.base import persist as dask_persist
from dask.local import get_sync
from pydantic import ValidationError

from wukong import futures, history, persisted
from wukong.config import Config, ConfigError, RunOptions, load_config
from wukong.futures import Future
from wukong.graph.normalise import Normalised, normalise
from wukong.keeping import Keeper, Surroundings
from wukong.messages import Targets
from wukong.platform.context import inside_function
from wukong.platform.interface import Platform
from wukong.record import RunRecord
from wukong.runs import Run
from wukong.stack.valkey import EmbeddedValkey
from wukong.storage import Storage, StorageError, open_storage
from wukong.submission import submit

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
        # A run that nobody follows any more is of no concern here.
        self._runs: WeakSet[Run] = WeakSet()
        self._keeper = Keeper(self._surroundings)

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
        Values, in tuples nested as the lists of `keys`.

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
        begin = self._begin(_run_options(self.config.run, options))
        run = begin(normalise(dsk, keys if isinstance(keys, list) else [keys]), keys)
        run.wait()
        return run.result()

    def compute(self, collection: Any, **options: Any) -> Future:
        """Compute a collection in the background, and give its future at once.

        The future's `run` names the run: with it, `attach` comes back to it if this process ends.
        """
        return futures.compute(collection, self._begin(_run_options(self.config.run, options)))

    def attach(self, run: str) -> Future:
        """Come back to a run that this client or a lost one has begun; its result is the future's.

        The future raises `RunError` if the store has no such run.
        """
        storage, platform = self._connect()

        def come_back() -> Run:
            found = Run.attach(run, storage, platform, self._keeper)
            self._runs.add(found)
            return found

        return futures.attach(run, come_back)

    def persist(
        self, collections: Any, *, optimize_graph: bool = True, **options: Any
    ) -> list[Any] | Any:
        """Compute collections and leave their values in the store; Dask's `x.persist()` comes here.

        Returns
        -------
        The same collections on top of what is stored, a list if a list or tuple was given.
        """
        if not isinstance(collections, list | tuple):
            return self.persist([collections], optimize_graph=optimize_graph, **options)[0]
        if inside_function():
            return list(dask_persist(*collections, scheduler="sync"))
        if not all(map(persisted.is_plain, collections)):
            return persisted.persist_here(
                collections, self.get, optimize_graph=optimize_graph, **options
            )
        begin = self._begin(_run_options(self.config.run, options))

        def compute(graph: Normalised, keys: Any) -> Run:
            run = begin(graph, keys)
            run.wait()
            return run

        storage, _ = self._connect()
        return persisted.persist(collections, compute, storage, optimize_graph=optimize_graph)

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future:
        """Call a function in an Executor, and give its future at once.

        Futures among the arguments are awaited first; their values travel through this process.
        """
        key = f"{_name_of(function)}-{uuid.uuid4().hex}"
        call = futures.Call(key, function, arguments, keywords)
        return futures.start([call], self._begin(self.config.run), self.config.run.retries)[0]

    def map(
        self, function: Callable[..., Any], /, *iterables: Iterable[Any], **options: Any
    ) -> list[Future]:
        """Call a function with each item, or with items side by side, and give the futures.

        Parameters
        ----------
        options
            Options of this run, as in `map(f, items, retries=2)`.
        """
        wanted = _run_options(self.config.run, options)
        name = f"{_name_of(function)}-{uuid.uuid4().hex}"
        calls = [
            futures.Call((name, number), function, arguments, {})
            for number, arguments in enumerate(zip(*iterables, strict=False))
        ]
        return futures.start(calls, self._begin(wanted), wanted.retries) if calls else []

    @staticmethod
    def gather(waiting: Any) -> Any:
        """Wait for futures, in lists, tuples and dicts as they come; raises the first's error."""
        return futures.gather(waiting)

    def report(self, path: str | Path | None = None, run: str | None = None) -> Path:
        """Write the page of a run of which a record is kept, and give the page's path.

        Parameters
        ----------
        path
            Where to; `wukong-<run>.html` in the current folder by default.
        run
            As in `record`.
        """
        from wukong import report

        return report.write(self.record(run), path)

    def explain(self, run: str | None = None) -> str:
        """Say where Executors run, how they are started, and why so.

        Of a run that has ended: how each edge went and why, and who started each Executor and why.
        """
        if run is not None:
            from wukong.report import explain

            return explain(self.record(run))
        _, platform = self._connect()
        return "\n".join([repr(self), *platform.explain()])

    @property
    def last_run(self) -> RunRecord | None:
        """What is known of the run of this client that ended last; None before there is one."""
        return self._keeper.last

    def record(self, run: str | None = None) -> RunRecord:
        """Give what is known of a run that has ended: of this client's last one, or of any kept.

        Parameters
        ----------
        run
            Its id, or as many characters of it as only it begins with.

        Raises
        ------
        HistoryError
            If there is no such run; names those that are near.
        """
        last = self.last_run
        if last is not None and run in {None, last.summary.run}:
            return last
        if run is None:
            raise history.HistoryError("no run of this client has ended yet", "Compute something.")
        return history.load(run)

    def cancel(self) -> None:
        """Stop every run of this client: one write each, which all its Executors meet."""
        for run in list(self._runs):
            run.cancel()

    def _begin(self, options: RunOptions) -> Callable[[Normalised, Any], Run]:
        def begin(graph: Normalised, keys: Any) -> Run:
            storage, platform = self._connect()
            begun = submit(uuid.uuid4().hex, graph, keys, storage, platform, options)
            run = Run(begun, storage, platform, self._keeper)
            self._runs.add(run)
            return run

        return begin

    def close(self) -> None:
        """Stop what this client has started: runs, worker processes and the embedded Valkey."""
        if self._storage is not None:
            with suppress(StorageError):
                self.cancel()
        self._open.close()
        self._keeper.wait()
        self._storage = self._platform = None

    def __enter__(self) -> Self:
        # Executors have no disk in common, which is Dask's choice where nothing else is said.
        method = dask.config.get("dataframe.shuffle.method", None) or "tasks"
        settings = {"scheduler": self, "dataframe.shuffle.method": method}
        self._open.enter_context(dask.config.set(settings))
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

    def _surroundings(self) -> Surroundings:
        names = self.config.aws_lambda
        if self.config.platform != "aws" or self._platform is None:
            workers = self._platform.parallelism if self._platform is not None else None
            return Surroundings(self.config.platform, workers)
        where = {"region": names.region or "", "endpoint": names.endpoint_url or ""}
        return Surroundings("aws", None, {name: value for name, value in where.items() if value})

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


def attach(run: str, config: Config | str | Path | None = None, **arguments: Any) -> Any:
    """Come back to a run whose client was lost, wait for it, and give its result.

    Parameters
    ----------
    run
        Its id, as `client.compute(x).run` gave it.
    config, arguments
        As of a `Client`; its store must be the one of the lost client.

    Raises
    ------
    RunError
        If the store has no such run.
    """
    client = Client(config, **arguments)
    try:
        return client.attach(run).result()
    finally:
        client.close()


def _name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


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
