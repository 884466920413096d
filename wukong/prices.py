"""What AWS asks for: the dated table `prices.yaml`, or one that takes its place.

Prices are contracts and change; nothing else in the house knows one. A region that the table does
not list is reckoned at the prices of us-east-1.
"""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wukong.config import ConfigError
from wukong.storage import StoreKind

FILE = Path(__file__).with_name("prices.yaml")

DEFAULT_REGION = "us-east-1"

Architecture = Literal["x86_64", "arm64"]
Dollars = Annotated[float, Field(ge=0)]


class _Rates(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LambdaRates(_Rates):
    """Of Lambda: dollars for a GB-second of either architecture, and for a million requests."""

    x86_64: Dollars
    arm64: Dollars
    million_requests: Dollars


class ValkeyRates(_Rates):
    """Of ElastiCache Serverless for Valkey; `least_gb` is metered at all times."""

    gb_hour: Dollars
    million_ecpus: Dollars
    least_gb: Dollars


class S3Rates(_Rates):
    """Of S3."""

    thousand_writes: Dollars
    thousand_reads: Dollars
    gb_month: Dollars


class DynamoRates(_Rates):
    """Of DynamoDB on demand."""

    million_writes: Dollars
    million_reads: Dollars
    gb_month: Dollars


class TransferRates(_Rates):
    """Of data that leaves AWS."""

    gb_out: Dollars


RatesT = TypeVar("RatesT", bound=_Rates)


class Service(_Rates, Generic[RatesT]):
    """The prices of one service: where and when they were read, and what they are by region."""

    source: str
    dated: date
    regions: dict[str, RatesT]

    def at(self, region: str) -> RatesT:
        """Give the prices of a region, or those of us-east-1 if the table does not list it."""
        return self.regions.get(region) or self.regions[DEFAULT_REGION]


class Prices(_Rates):
    """The whole table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lambda_: Annotated[Service[LambdaRates], Field(alias="lambda")]
    valkey: Service[ValkeyRates]
    s3: Service[S3Rates]
    dynamodb: Service[DynamoRates]
    transfer: Service[TransferRates]

    def dated(self, store: StoreKind) -> date:
        """Give the oldest date of what a run is reckoned with: Lambda and its store's services."""
        if store == "dynamodb":
            return min(self.lambda_.dated, self.dynamodb.dated, self.s3.dated)
        return min(self.lambda_.dated, self.valkey.dated)


@cache
def load_prices(path: str | Path | None = None) -> Prices:
    """Read a price table, the package's own unless one is named.

    Raises
    ------
    ConfigError
        That names the file, the key and what was wrong.
    """
    file = Path(path or FILE)
    hint = f"It must have the form of {FILE}; `prices` or WUKONG_PRICES names the file."
    try:
        prices = Prices.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"prices: {file} cannot be read: {error.strerror}", hint) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"prices: {file} is not YAML: {error}", hint) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"prices: {file}: {where}: {first['msg']}", hint) from error
    for name in Prices.model_fields:
        if DEFAULT_REGION not in getattr(prices, name).regions:
            raise ConfigError(f"prices: {file}: {name.strip('_')} lacks {DEFAULT_REGION}", hint)
    return prices
