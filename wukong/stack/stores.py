"""Where the runs of a stack are: its kind of storage, and the address by which a client finds it.

dynamodb    the stack's own table and bucket, which have one name wherever one asks from
valkey      the cache of its network's stack; the password is in Secrets Manager
url         what the stack was given; its output leaves out user and password
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    # It brings boto3, and the command line names the kinds before it needs that.
    from wukong.stack.cloudformation import Stack


NETWORK = "wukong-network"
"""As NetworkStack of the template."""


class StorageKind(StrEnum):
    """The template's parameter `Storage`, and its output."""

    DYNAMODB = "dynamodb"
    VALKEY = "valkey"
    URL = "url"


def kind_of(outputs: Mapping[str, str]) -> StorageKind | None:
    """Give the kind that a stack uses; None if it is of a release that did not say."""
    return StorageKind(outputs["Storage"]) if "Storage" in outputs else None


def network_of(given: Mapping[str, str]) -> str | None:
    """Name the network's stack that parameters ask for; None if they do not."""
    if given.get("Storage") != StorageKind.VALKEY or given.get("StoreUrl"):
        return None
    return given.get("NetworkStack", NETWORK)


def network_used(stack: Stack) -> str | None:
    """Name the network's stack that a stack uses and that is there; None if there is none.

    Raises
    ------
    StackError
        If the stack itself is not there.
    """
    given, outputs = stack.parameters(), stack.outputs()
    if not outputs or "StoreSecretArn" in outputs:
        # NoEcho: told as stars, also where it is empty. The secret says that it is; of a stack that
        # has failed nothing does, and what costs is rather named once too often.
        given.pop("StoreUrl", None)
    name = network_of(given)
    return name if name is not None and stack.sibling(name).describe() is not None else None


def store_url(stack: Stack, outputs: Mapping[str, str], configured: str | None) -> str | None:
    """Give the address by which this process reaches a stack's store.

    Parameters
    ----------
    outputs
        Of the stack.
    configured
        The address in the configuration. It goes before the stack's, as a client may reach the same
        server by another way, but never before the stack's own table, to which there is only one.

    Returns
    -------
    None if neither knows it.

    Raises
    ------
    StackError
        If the secret with the password cannot be read.
    """
    told = outputs.get("StoreUrl") or None
    if kind_of(outputs) is StorageKind.DYNAMODB:
        return told
    if configured or told is None or "StoreSecretArn" not in outputs:
        return configured or told
    secret = stack.secret(outputs["StoreSecretArn"])
    user, password = quote(secret["username"], safe=""), quote(secret["password"], safe="")
    return told.replace("://", f"://{user}:{password}@", 1)
