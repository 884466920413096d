"""`wukong.Client`: Dask's scheduler for a computation that has no cluster.

    with wukong.Client():                   # this machine: worker processes, embedded Valkey
        x.compute()

    client = wukong.Client("wukong-config.yaml")
    x.compute(scheduler=client)

Dask takes an object for a scheduler if its type is called a Client and it has `get`
(dask.base.get_scheduler). Nothing connects before the first computation.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from weakref import WeakSet

import dask
from dask.base import persist as dask_persist
from dask.core import flatten
from dask.local import get_sync

from wukong import futures, history, persisted
from wukong.callbacks import Callback
from wukong.config import Config, RunOptions, load_config
from wukong.connection import Connection
from wukong.cost import Cost, cost_of
from wukong.estimate import Conditions, Estimate, bytes_of, estimate, graph_of
from wukong.experience import recall
from wukong.followers import Followers
from wukong.following import Following
from wukong.futures import Future, MakeRun
from wukong.graph.normalise import Normalised, normalise
from wukong.keeping import Keeper, Surroundings
from wukong.ledger import Ledger
from wukong.opening import check_kept, workers_of
from wukong.platform import tracing
from wukong.platform.context import inside_function
from wukong.platform.interface import Platform
from wukong.record import RunRecord
from wukong.runs import Run
from wukong.storage import Storage, StorageError
from wukong.submission import submit
from wukong.view import client_html, client_text

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
    callbacks
        Who is told of every run of this client (`wukong.Callback`).
    options
        Any option of a run (`max_executors`, `deadline`, `budget`, ...), for all runs of this
        client. `progress` is True, False, or a callback that takes the bar's place; without it a
        bar is drawn where somebody looks: in a terminal, or in a notebook.

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
        callbacks: Sequence[Callback] = (),
        **options: Any,
    ) -> None:
        found = config if isinstance(config, Config) else load_config(config)
        following = Following(found.run).changed({**options, "callbacks": callbacks})
        self.config = found.with_arguments(platform, stack, workers, following.options)
        self._following = following
        self._ledger = Ledger(self.config)
        self._settings = ExitStack()
        self._connection = Connection(self.config, self._ledger.stored_at)
        self._followers = Followers()
        self._lock = threading.Lock()
        # A run that nobody follows any more is of no concern here.
        self._runs: WeakSet[Run] = WeakSet()
        self._keeper = Keeper(self._surroundings, self._save)

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
        if not any(True for _ in flatten([keys])):
            return get_sync({}, keys)
        begin = self._begin(self._following.changed(options))
        with begin(normalise(dsk, keys if isinstance(keys, list) else [keys]), keys) as run:
            run.wait()
            return run.result()

    def compute(self, collection: Any, **options: Any) -> Future:
        """Compute a collection in the background, and give its future at once.

        Of several, in a list or tuple, the future's value is the list of theirs; they are one run.
        The future's `run` names the run: with it, `attach` comes back to it if this process ends.
        """
        begin = self._begin(self._following.changed(options))
        return futures.compute(self._followers, collection, begin)

    def attach(self, run: str) -> Future:
        """Come back to a run that this client or a lost one has begun; its result is the future's.

        Of the run of a `map` that is the list of its values, in the order of its calls.
        The future raises `RunError` if the store has no such run.
        """
        storage, platform = self._connect()
        following = self._following
        watch = self._ledger.watch(following.followers(), following.options, platform)

        def come_back() -> Run:
            found = Run.attach(run, storage, platform, watch, self._keeper)
            self._note(found)
            return found

        return futures.attach(self._followers, run, come_back)

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
        begin = self._begin(self._following.changed(options))
        hold = self._connection.hold
        return persisted.persist(collections, begin, hold, optimize_graph=optimize_graph)

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future:
        """Call a function in an Executor, and give its future at once.

        Futures among the arguments, in lists, tuples and dicts too, are awaited first; their values
        travel through this process.
        """
        key = f"{_name_of(function)}-{uuid.uuid4().hex}"
        call = futures.Call(key, function, arguments, keywords)
        # No bar unless it is asked for: there may be very many calls at once.
        wanted = self._following.changed({"progress": self.config.run.progress or False})
        begin, retries = self._begin(wanted), wanted.options.retries
        return futures.start(self._followers, call, begin, retries)[0]

    def map(
        self, function: Callable[..., Any], /, *iterables: Iterable[Any], **options: Any
    ) -> list[Future]:
        """Call a function with each item, or with items side by side, and give the futures.

        Parameters
        ----------
        options
            Options of this run, as in `map(f, items, retries=2)`.
        """
        wanted = self._following.changed(options)
        name = f"{_name_of(function)}-{uuid.uuid4().hex}"
        calls = [
            futures.Call((name, number), function, arguments, {})
            for number, arguments in enumerate(zip(*iterables, strict=False))
        ]
        begin, retries = self._begin(wanted), wanted.options.retries
        return list(futures.start(self._followers, calls, begin, retries)) if calls else []

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

        found = self.record(run)
        return report.write(found, path, cost_of(found))

    def explain(self, run: str | None = None) -> str:
        """Say where Executors run, how they are started, and why so.

        Of a run that has ended: how each edge went and why, and who started each Executor and why.
        """
        if run is not None:
            from wukong.report import explain

            return explain(self.record(run))
        _, platform = self._connect()
        return "\n".join([repr(self), *platform.explain()])

    def cost(self, run: str | None = None) -> Cost:
        """Say what a run of this client has cost so far, or all of them, by function and use.

        On this machine it says what the same would have cost on Lambda, and marks it so.

        Parameters
        ----------
        run
            Its id, as `client.compute(x).run` gives it; without one, all runs.

        Raises
        ------
        RunError
            If the run is none of this client's.
        """
        self._keeper.wait()
        if self._platform is not None:
            self._ledger.connected(self._platform)
        return self._ledger.cost(run)

    def estimate(self, collection: Any, **options: Any) -> Estimate:
        """Say what computing a collection, or several in a list, is likely to take and to cost.

        It learns from earlier runs on the same platform; nothing is started.
        """
        following = self._following.changed(options)
        graph, size = graph_of(collection), bytes_of(collection)
        return self._estimate(graph, following.options, size)

    def _estimate(
        self, graph: Normalised, options: RunOptions, size: int | None = None
    ) -> Estimate:
        conditions = Conditions(
            self._ledger.tariff(options), workers_of(self.config), options.max_executors
        )
        return estimate(graph, conditions, recall(self.config.platform), size)

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
        with self._lock:
            runs = list(self._runs)
        for run in runs:
            run.cancel()

    def _begin(self, following: Following) -> MakeRun:
        self._connection.check()
        options, followers = following.options, following.followers()

        def begin(graph: Normalised, keys: Any, *, calls: bool = False) -> Run:
            storage, platform = self._connect()
            check_kept(options, self._connection.located.store)
            self._ledger.check_memory(options, platform)
            self._ledger.check_budget(options, platform, lambda: self._estimate(graph, options))
            name = uuid.uuid4().hex
            trace = tracing.begin("wukong.run", attributes={"wukong.run": name})
            with trace.here():
                begun = submit(name, graph, keys, storage, platform, options, calls=calls)
            with Run(begun, storage, platform, None, self._keeper, trace) as run:
                run.watch = self._ledger.watch(followers, options, platform, begun)
                return self._note(run)

        return begin

    def _save(self, record: RunRecord) -> None:
        self._ledger.settle(record)
        history.save(record)

    def _note(self, run: Run) -> Run:
        with self._lock:
            self._runs.add(run)
        self._ledger.enter(run.id, run.watch)
        if self._connection.is_closed:
            # Too late to be among those that closing stops.
            run.cancel()
        return run

    def close(self) -> None:
        """Stop what this client has started: runs, worker processes and the embedded Valkey.

        Futures that are left raise `RunCancelledError`, and the client can compute nothing more. In
        a process that was forked from the client's, nothing is stopped.
        """
        self._settings.close()
        if self._connection.is_of_parent:
            return
        self._followers.refuse()
        self._connection.refuse()
        with suppress(StorageError):
            self.cancel()
        self._followers.join()
        self._connection.close()
        self._keeper.wait()

    def __enter__(self) -> Self:
        self._connection.check()
        # Executors have no disk in common, which is Dask's choice where nothing else is said.
        method = dask.config.get("dataframe.shuffle.method", None) or "tasks"
        settings = {"scheduler": self, "dataframe.shuffle.method": method}
        self._settings.enter_context(dask.config.set(settings))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return client_text(self.config, self._ledger.cost())

    def _repr_html_(self) -> str:
        return client_html(self.config, self._ledger.tariff(), self._ledger.cost())

    def _surroundings(self) -> Surroundings:
        names = self.config.aws_lambda
        where: dict[str, str] = {"store": self._ledger.tariff().store}
        if self.config.platform != "aws" or self._platform is None:
            workers = self._platform.parallelism if self._platform is not None else None
            return Surroundings(self.config.platform, workers, where)
        where |= {"region": names.region or "", "endpoint": names.endpoint_url or ""}
        return Surroundings("aws", None, {name: value for name, value in where.items() if value})

    def _connect(self) -> tuple[Storage, Platform]:
        return self._connection.open()

    @property
    def _storage(self) -> Storage | None:
        return self._connection.storage

    @property
    def _platform(self) -> Platform | None:
        return self._connection.platform


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
