"""What runs cost: what they used, times the price table.

    Usage (seconds, requests, bytes) ── Tariff (where, memory, prices) ──> Cost (lines of dollars)

On this machine nothing is billed; then a cost says what the same seconds would have cost on Lambda,
and says that it does. docs/cost.md has the model and how far it can be trusted.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from html import escape

from wukong.config import Config
from wukong.platform.interface import Provision
from wukong.prices import DEFAULT_REGION, Architecture, Prices, load_prices
from wukong.record import RunRecord
from wukong.storage import StoreKind, store_kind
from wukong.usage import Usage, usage_of

EXECUTOR_MEMORY_MB = 3008
"""What `template-bootstrap.yaml` gives an Executor unless it is told otherwise."""

INVOKER_MEMORY_MB = 512
"""The same for the Invoker."""

ECPUS_PER_STEP = 100
"""ElastiCache Processing Units of one step of the store's script, by its processor time.

A GET of up to 1 KB is one unit, and a command that takes more processor time is more in proportion
(https://aws.amazon.com/elasticache/pricing/). In a matrix product of 268 segments a step took
276 us, where a GET took 1.3 us and a SET 3.5 us (the server's own commandstats)."""

STEPS_PER_SEGMENT = 2
"""Steps of that matrix product: 551, with beginnings, beats and reads of the client."""

WRITE_UNITS_PER_SEGMENT = 12.0
"""Write units of DynamoDB for a segment, from the creation of a run to its deletion.

`benchmarks/storage_calls.py` counted 10.6 to 13.2 in runs of 101 to 127 segments, and 11.95 over
all of them (the table in docs/storage.md)."""

READ_UNITS_PER_SEGMENT = 2.8
"""Read units of DynamoDB for a segment: 2.2 to 3.8 in the same runs, and 2.77 over all of them."""

WRITES_PER_INLINE_KB = 3
"""Write units that each KB of an output in an item adds: a change is billed by the item's whole
size, and there is the seal, the mark that it was read, and the deletion
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html).
Outputs of the counted runs were far below 1 KB, or objects."""

LEAST_DOLLARS = 1e-9
"""Less is written as nothing."""

KB = 1024
GB = 1024**3


@dataclass(frozen=True, slots=True)
class CostLine:
    """One line of a bill: what, how much of it, in which unit, and for how many dollars."""

    what: str
    quantity: float
    unit: str
    dollars: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What something cost.

    Attributes
    ----------
    lines
        By function and kind of use.
    prices_dated
        The date of the price table.
    billed
        Whether AWS asks for it; if not, it is what it would have cost on Lambda.
    """

    lines: tuple[CostLine, ...]
    prices_dated: str
    billed: bool = True

    @property
    def dollars(self) -> float:
        """All lines together."""
        return sum(line.dollars for line in self.lines)

    @property
    def headline(self) -> str:
        """The sum, in words that tell what was billed from what would have been."""
        return money(self.dollars, billed=self.billed) if self.lines else "$0"

    def __add__(self, other: Cost) -> Cost:
        lines = {(line.what, line.unit): line for line in self.lines}
        for line in other.lines:
            known = lines.get((line.what, line.unit), replace(line, quantity=0.0, dollars=0.0))
            lines[line.what, line.unit] = replace(
                known,
                quantity=known.quantity + line.quantity,
                dollars=known.dollars + line.dollars,
            )
        dated = min(filter(None, (self.prices_dated, other.prices_dated)), default="")
        return Cost(tuple(lines.values()), dated, self.billed and other.billed)

    def __str__(self) -> str:
        rows = [
            f"  {line.what:<24}{line.quantity:>14,.6g} {line.unit:<10}{dollars(line.dollars):>12}"
            for line in self.lines
        ]
        return "\n".join([self.headline, *rows, f"  prices of {self.prices_dated}"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{escape(line.what)}</td>"
            f"<td>{line.quantity:,.6g} {escape(line.unit)}</td>"
            f"<td>{dollars(line.dollars)}</td></tr>"
            for line in self.lines
        )
        return (
            f"<div><b>{escape(self.headline)}</b><table>{rows}</table>"
            f"<small>prices of {escape(self.prices_dated)}</small></div>"
        )


NOTHING = Cost((), "")


@dataclass(frozen=True, slots=True)
class Tariff:
    """What things cost at one place.

    Attributes
    ----------
    memory_mb, architecture
        Of Executors.
    region
        Whose prices hold.
    billed
        Whether AWS asks for anything there.
    store
        What control state and outputs are in; memory is reckoned as Valkey.
    """

    memory_mb: int = EXECUTOR_MEMORY_MB
    architecture: Architecture = "x86_64"
    region: str = "us-east-1"
    billed: bool = True
    store: StoreKind = "valkey"
    prices: Prices = field(default_factory=load_prices)

    @property
    def gb_second(self) -> float:
        """Dollars for a GB-second of Lambda."""
        return float(getattr(self.prices.lambda_.at(self.region), self.architecture))

    @property
    def executor_second(self) -> float:
        """Dollars for a second of one Executor."""
        return self.gb_second * self.memory_mb / KB

    def cost(self, usage: Usage) -> Cost:
        """Give the bill for what was used."""
        lines = [line for line in self._lines(usage) if line.quantity]
        return Cost(tuple(lines), self.prices.dated(self.store).isoformat(), self.billed)

    def _lines(self, usage: Usage) -> Iterable[CostLine]:
        yield self._compute("Executor compute", usage.executor_seconds, self.memory_mb)
        yield self._requests("Executor requests", usage.executor_requests)
        yield self._compute("Invoker compute", usage.invoker_seconds, INVOKER_MEMORY_MB)
        yield self._requests("Invoker requests", usage.invoker_requests)
        yield from self._dynamo(usage) if self.store == "dynamodb" else self._valkey(usage)

    def _valkey(self, usage: Usage) -> Iterable[CostLine]:
        rates = self.prices.valkey.at(self.region)
        moved = usage.stored_bytes + usage.read_bytes
        ecpus = usage.segments * STEPS_PER_SEGMENT * ECPUS_PER_STEP + moved / KB
        yield CostLine("store processing", ecpus, "ECPU", ecpus / 1e6 * rates.million_ecpus)
        hours = usage.stored_bytes / GB * usage.seconds / 3600
        yield CostLine("store data", hours, "GB-h", hours * rates.gb_hour)

    def _dynamo(self, usage: Usage) -> Iterable[CostLine]:
        """Give the lines of table and bucket; what they hold for a run costs next to nothing."""
        table, bucket = self.prices.dynamodb.at(self.region), self.prices.s3.at(self.region)
        inline = usage.inline_bytes / KB * WRITES_PER_INLINE_KB
        writes = usage.segments * WRITE_UNITS_PER_SEGMENT + inline
        yield CostLine("table writes", writes, "WRU", writes / 1e6 * table.million_writes)
        reads = usage.segments * READ_UNITS_PER_SEGMENT
        yield CostLine("table reads", reads, "RRU", reads / 1e6 * table.million_reads)
        puts, gets = usage.objects, usage.object_reads
        yield CostLine("bucket writes", puts, "requests", puts / 1e3 * bucket.thousand_writes)
        yield CostLine("bucket reads", gets, "requests", gets / 1e3 * bucket.thousand_reads)

    def _compute(self, what: str, seconds: float, memory_mb: int) -> CostLine:
        gb_seconds = seconds * memory_mb / KB
        return CostLine(what, gb_seconds, "GB-s", gb_seconds * self.gb_second)

    def _requests(self, what: str, requests: int) -> CostLine:
        rate = self.prices.lambda_.at(self.region).million_requests
        return CostLine(what, requests, "requests", requests / 1e6 * rate)


def tariff_of(
    config: Config,
    provision: Provision | None = None,
    memory_mb: int | None = None,
    store: StoreKind | None = None,
) -> Tariff:
    """Say what things cost where a configuration computes.

    Parameters
    ----------
    provision
        What Executors are given, if that is known; else what the template gives them.
    memory_mb
        Megabytes to reckon with instead.
    store
        What the store is, if that is known; else what the configuration says.
    """
    known = provision or Provision(EXECUTOR_MEMORY_MB, "x86_64", region_of(config))
    return Tariff(
        memory_mb=memory_mb or known.memory_mb,
        architecture=known.architecture,
        region=known.region,
        billed=config.platform == "aws" and not endpoint_of(config),
        store=store or store_of(config),
        prices=load_prices(config.prices),
    )


def store_of(config: Config) -> StoreKind:
    """Say what the store is, without asking a stack: on aws a stack's own is DynamoDB and S3."""
    if config.store.url:
        return store_kind(config.store.url)
    return "dynamodb" if config.platform == "aws" else "valkey"


def region_of(config: Config) -> str:
    """Say in which region Lambda is used, or would be, without loading boto3."""
    here = os.environ
    named = config.aws_lambda.region or here.get("AWS_REGION") or here.get("AWS_DEFAULT_REGION")
    return named or DEFAULT_REGION


def endpoint_of(config: Config) -> str | None:
    """Give the endpoint that takes Lambda's place, such as an emulator's; None for AWS itself."""
    here = os.environ
    named = config.aws_lambda.endpoint_url or here.get("AWS_ENDPOINT_URL_LAMBDA")
    return named or here.get("AWS_ENDPOINT_URL")


def cost_of(record: RunRecord) -> Cost:
    """Say what a run has cost, or would have cost on Lambda, from its record alone."""
    summary = record.summary
    sizes = [one.place.memory_mb for one in record.executors if one.place.memory_mb]
    asked = summary.options.get("memory")
    return Tariff(
        memory_mb=max(sizes, default=asked or EXECUTOR_MEMORY_MB),
        region=summary.where.get("region") or DEFAULT_REGION,
        billed=summary.platform == "aws" and not summary.where.get("endpoint"),
        # Records of releases that knew one store only do not name it.
        store="dynamodb" if summary.where.get("store") == "dynamodb" else "valkey",
    ).cost(usage_of(record))


def total(costs: Sequence[Cost]) -> Cost:
    """Add costs up."""
    return sum(costs[1:], costs[0]) if costs else NOTHING


def dollars(amount: float) -> str:
    """Write an amount: to the cent, and small ones so that they can be told from nothing."""
    if amount >= 1 or amount < LEAST_DOLLARS:
        return f"${amount:,.2f}" if amount >= 1 else "$0"
    return f"${amount:.{1 - math.floor(math.log10(amount))}f}"


def money(amount: float, *, billed: bool) -> str:
    """Write an amount; what is not billed is marked so."""
    return dollars(amount) if billed else f"$0 here; on Lambda about {dollars(amount)}"
