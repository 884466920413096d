"""What the runs of one client have cost, and the budget that ends one.

A ledger knows the client's tariff: prices, region, the store, and the memory of Executors, which it
asks the platform for once there is one. Each run has a `Watch` that meters it; the ledger adds them
up.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from wukong.callbacks import Callback, Progress, Watch
from wukong.config import Config, ConfigError, RunOptions
from wukong.cost import NOTHING, Cost, Tariff, dollars, tariff_of, total
from wukong.estimate import Estimate
from wukong.platform.interface import Platform, Provision
from wukong.record import RunRecord
from wukong.storage import StoreKind, store_kind
from wukong.submission import RunError, Submitted
from wukong.usage import usage_of

if TYPE_CHECKING:
    from wukong.runs import Run

KEPT_RUNS = 1_000
"""The cost of so many runs is kept apart; that of older ones is kept as a sum."""


class BudgetError(RunError):
    """A run that costs more than it may, or is likely to."""


class Budget(Callback):
    """Ends a run that has cost more than it may.

    Parameters
    ----------
    budget
        Dollars.
    """

    def __init__(self, budget: float) -> None:
        self._budget = budget

    def progress(self, run: Run, progress: Progress) -> None:
        """Raise if the budget is spent."""
        if progress.dollars <= self._budget or progress.done == progress.total:
            return
        where = "" if progress.billed else " (reckoned as on Lambda; nothing is billed here)"
        of = "" if progress.total is None else f" of {progress.total:,}"
        raise BudgetError(
            f"run {run.id}: stopped with {dollars(progress.dollars)} spent{where}, over its budget "
            f"of {dollars(self._budget)}; {progress.done:,}{of} segments were done",
            "Give it a larger budget=..., or see with client.estimate(x) what it takes.",
        )


class Ledger:
    """Adds up what the runs of a client cost."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._provision: Provision | None = None
        self._store: StoreKind | None = None
        self._watches: OrderedDict[str, Watch] = OrderedDict()
        self._older = NOTHING

    def connected(self, platform: Platform) -> None:
        """Learn what Executors are like."""
        if self._provision is None:
            self._provision = platform.provision()

    def stored_at(self, url: str) -> None:
        """Learn where the store is."""
        self._store = store_kind(url)

    @property
    def provision(self) -> Provision | None:
        """What Executors are known to be like; None on this machine, and before it is asked."""
        return self._provision

    def tariff(self, options: RunOptions | None = None) -> Tariff:
        """Say what things cost for a run with these options."""
        memory_mb = (options or self._config.run).memory
        return tariff_of(self._config, self._provision, memory_mb, self._store)

    def check_memory(self, options: RunOptions, platform: Platform) -> None:
        """Refuse a run that asks for Executors of another size than those that are deployed.

        Raises
        ------
        ConfigError
            That names both sizes.
        """
        if options.memory is None:
            return
        self.connected(platform)
        known = self._provision
        if known is None or options.memory == known.memory_mb:
            return
        raise ConfigError(
            f"option memory: the run asks for Executors of {options.memory} MB, and the deployed "
            f"function has {known.memory_mb} MB",
            f"Deploy it with `wukong deploy -p ExecutorMemorySize={options.memory}`, or leave "
            "memory out.",
        )

    def watch(
        self,
        followers: tuple[Callback, ...],
        options: RunOptions,
        platform: Platform,
        submitted: Submitted | None = None,
    ) -> Watch:
        """Give what watches a run; `submitted` is None for one that was begun elsewhere."""
        if options.budget is not None:
            followers += (Budget(options.budget),)
        if followers:
            self.connected(platform)
        return Watch(
            followers,
            lambda: self.tariff(options),
            segments=len(submitted.names) if submitted is not None else None,
            alive=submitted.executors if submitted is not None else 1,
            most=min(filter(None, (platform.parallelism, options.max_executors)), default=None),
        )

    def enter(self, run: str, watch: Watch) -> None:
        """Keep a run's watch."""
        with self._lock:
            self._watches[run] = watch
            if len(self._watches) > KEPT_RUNS:
                _, oldest = self._watches.popitem(last=False)
                self._older += oldest.cost

    def settle(self, record: RunRecord) -> None:
        """Put what a run has used, by its record, in the place of what was metered."""
        with self._lock:
            watch = self._watches.get(record.summary.run)
        if watch is not None:
            watch.used = usage_of(record)

    def check_budget(
        self, options: RunOptions, platform: Platform, estimate: Callable[[], Estimate]
    ) -> None:
        """Refuse a run that cannot be had for its budget.

        Raises
        ------
        BudgetError
            That names the budget and what the run is likely to cost.
        """
        if options.budget is None:
            return
        self.connected(platform)
        expected = estimate()
        if expected.dollars.low > options.budget:
            billed = "" if expected.cost.billed else " on Lambda (nothing is billed here)"
            raise BudgetError(
                f"the run is likely to cost {expected.dollars.write(dollars)}{billed}, and its "
                f"budget is {dollars(options.budget)}; nothing was started",
                "Give it a larger budget=..., or less to do: client.estimate(x) tells what takes "
                "how much.",
            )

    def cost(self, run: str | None = None) -> Cost:
        """Give what a run has cost so far, or all of them.

        Raises
        ------
        RunError
            If the run is none of this client's.
        """
        with self._lock:
            if run is None:
                return total([self._older, *(watch.cost for watch in self._watches.values())])
            if run not in self._watches:
                raise RunError(
                    f"run {run} is none of this client's last {KEPT_RUNS:,}",
                    "`client.compute(x).run` gives a run's id.",
                )
            return self._watches[run].cost
