"""The probe and its answer: what an Executor runs on, asked before anything is computed there.

client ──Probe──> Executor ──Environment──> client
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from wukong.messages import PROTOCOL, field_of, header


@dataclass(frozen=True, slots=True)
class Probe:
    """Asks an Executor what it runs on.

    Attributes
    ----------
    find
        Top-level modules of which it says whether they can be imported, however they are installed.
    thorough
        Whether it also reaches for its store, and measures its code and layers.
    """

    find: tuple[str, ...] = ()
    thorough: bool = False

    def to_bytes(self) -> bytes:
        """Give the payload of an `Invoke` call."""
        message = {"wukong": "probe", "protocol": PROTOCOL}
        return json.dumps({**message, "find": self.find, "thorough": self.thorough}).encode()

    @classmethod
    def from_event(cls, event: object) -> Self:
        """Check and read a payload; raises `MessageError` that names the field."""
        message = header(event, "probe")
        find = tuple(map(str, field_of(message, "find", list)))
        return cls(find, message.get("thorough") is True)


@dataclass(frozen=True, slots=True)
class Environment:
    """What a process runs on.

    Attributes
    ----------
    release, python, machine
        Of Wukong, of Python, and the processor's architecture.
    versions
        Of distributions that both sides of a run should have alike; those that are there.
    modules
        Top-level modules that can be imported, without the standard library's.
    memory_bytes, processors
        How much of either the process may use.
    unzipped_bytes
        The size of code and layers; None if it was not measured.
    store
        What was wrong with the store; empty if it answered, None if it was not asked.
    """

    release: str
    python: str
    machine: str
    versions: Mapping[str, str]
    modules: frozenset[str]
    memory_bytes: int
    processors: int
    unzipped_bytes: int | None = None
    store: str | None = None

    def to_event(self) -> dict[str, Any]:
        """Give the JSON object that goes over the wire."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields |= {"versions": dict(self.versions), "modules": sorted(self.modules)}
        return {"wukong": "environment", "protocol": PROTOCOL, **fields}

    @classmethod
    def from_event(cls, event: object) -> Self:
        """Check and read an answer; raises `MessageError` that names the field."""
        message = header(event, "environment")
        return cls(
            release=field_of(message, "release", str),
            python=field_of(message, "python", str),
            machine=field_of(message, "machine", str),
            versions=dict(field_of(message, "versions", dict)),
            modules=frozenset(map(str, field_of(message, "modules", list))),
            memory_bytes=field_of(message, "memory_bytes", int),
            processors=field_of(message, "processors", int),
            unzipped_bytes=message.get("unzipped_bytes"),
            store=message.get("store"),
        )
