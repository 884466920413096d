"""Which storage `deploy` asks the template for, and the network's stack that one of them needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wukong.cli.output import Output
from wukong.errors import WukongError
from wukong.stack.cloudformation import Stack
from wukong.stack.stores import StorageKind, kind_of

UNUSABLE = frozenset({"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"})
"""What a stack is called that has no outputs; CloudFormation cannot update it either."""


class StorageChoiceError(WukongError):
    """Options of storage that contradict each other, or that lack an address."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody says of the storage.

    Attributes
    ----------
    kind
        `--storage`; None where nobody says.
    url
        `--store-url`.
    configured
        `store.url` of the configuration.
    is_embedded
        Whether it is for the embedded AWS, whose own Valkey is what is configured.
    """

    kind: StorageKind | None
    url: str | None
    configured: str | None
    is_embedded: bool

    def parameters(self, current: StorageKind | None) -> dict[str, str]:
        """Give the template's parameters; none of them where the stack stays as it is.

        Parameters
        ----------
        current
            What the stack uses now; None if there is no stack.

        Raises
        ------
        StorageChoiceError
            If what is said does not go together.
        """
        match self.kind or self._implied(current):
            case None:
                return {}
            case StorageKind.URL if self.kind is None and current is StorageKind.URL:
                # An address alone is enough for that, whatever the parameter Storage says.
                return {"StoreUrl": self._address(StorageKind.URL)}
            case StorageKind.URL:
                return {"Storage": "url", "StoreUrl": self._address(StorageKind.URL)}
            case StorageKind.VALKEY if self.is_embedded:
                return {"Storage": "valkey", "StoreUrl": self._address(StorageKind.VALKEY)}
            case made:
                self._refuse_address(made)
                # A StoreUrl that the stack was given before would go before it.
                return {"Storage": made.value, "StoreUrl": ""}

    def _implied(self, current: StorageKind | None) -> StorageKind | None:
        """Give what an address alone means: it changes nothing that the stack made itself."""
        if self.url:
            return StorageKind.URL
        is_given = current in {None, StorageKind.URL}
        return StorageKind.URL if self.configured and is_given else None

    def _address(self, kind: StorageKind) -> str:
        if address := self.url or self.configured:
            return address
        raise StorageChoiceError(
            f"--storage {kind.value} needs an address here, and there is none",
            "Give --store-url URL, or store.url in wukong-config.yaml; the embedded Valkey's is "
            'set by eval "$(wukong local env)".',
        )

    def _refuse_address(self, kind: StorageKind) -> None:
        if self.url:
            raise StorageChoiceError(
                f"--storage {kind.value} makes a store of its own, so --store-url is not for it",
                "Leave out one of the two; --storage url uses an address.",
            )


def ensure_network(
    out: Output, name: str, beside: Stack, template: Path, given: Mapping[str, str]
) -> None:
    """Make the network's stack unless it is there; one that is there is left as it is.

    Raises
    ------
    StorageChoiceError
        If one is there that was never completed, so that nothing can be taken from it.
    """
    where = beside.sibling(name)
    found = where.describe()
    if found is not None and found["StackStatus"] in UNUSABLE:
        raise StorageChoiceError(
            f"stack {name} is {found['StackStatus']}",
            "Its events tell why. Delete it (aws cloudformation delete-stack) and deploy again; "
            "docs/network.md has what often is the reason.",
        )
    if found is not None:
        return
    out.say(f"Making stack {name}: a VPC with a cache. It takes some minutes, and costs money")
    out.say("from now on, also while nobody computes (docs/network.md says how much).")
    prefix = {key: given[key] for key in ("FunctionPrefix",) if key in given}
    where.apply(template.read_text(encoding="utf-8"), prefix)
    out.say(f"Stack {name}: deployed.")


def told(outputs: Mapping[str, str]) -> dict[str, str | None]:
    """Give kind and address of a stack's storage, as JSON has it."""
    kind = kind_of(outputs)
    return {"kind": kind.value if kind else None, "url": outputs.get("StoreUrl") or None}


def sentence(outputs: Mapping[str, str]) -> str:
    """Say kind and address of a stack's storage."""
    storage = told(outputs)
    return f"Storage: {storage['kind'] or 'not told'}, {storage['url'] or 'no address yet'}."
