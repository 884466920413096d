"""What a zip is built for: a Lambda runtime on a processor, or this very machine."""

from __future__ import annotations

import platform
import re
import sys
import sysconfig
from dataclasses import dataclass, field
from typing import Self

from wukong.errors import WukongError

OLDEST, NEWEST = (3, 11), (3, 14)
ARCHITECTURES = ("x86_64", "arm64")

_GLIBC_OF_AMAZON_LINUX_2 = 26
_GLIBC_OF_AMAZON_LINUX_2023 = 34
"""Minor version of glibc in the runtimes: python3.11 is the last one on Amazon Linux 2.
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html"""


class TargetError(WukongError):
    """A runtime or processor that functions cannot have."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a package will run.

    Attributes
    ----------
    runtime
        As Lambda calls it: `python3.13`.
    architecture
        As Lambda calls it: `x86_64` or `arm64`.
    system
        `linux` for Lambda, which means one with glibc; the embedded AWS runs functions on
        whatever this machine has, such as `darwin` or `linux-musl`.
    is_local
        Whether functions run on this very machine, so that what it loads is right, also with a
        newer C library than Lambda's.
    """

    runtime: str
    architecture: str
    system: str = "linux"
    is_local: bool = field(default=False, compare=False)

    @classmethod
    def parse(cls, runtime: str, architecture: str) -> Self:
        """Check names that a person typed; raises `TargetError` that says which there are."""
        match = re.fullmatch(r"python3\.(\d+)", runtime)
        if match is None or not OLDEST <= (3, int(match[1])) <= NEWEST:
            known = ", ".join(f"python3.{n}" for n in range(OLDEST[1], NEWEST[1] + 1))
            raise TargetError(f"runtime: {runtime!r} is not supported", f"Choose one of {known}.")
        if architecture not in ARCHITECTURES:
            raise TargetError(
                f"architecture: {architecture!r} is not one of Lambda's",
                f"Choose {' or '.join(ARCHITECTURES)}.",
            )
        return cls(runtime, architecture)

    @classmethod
    def this_machine(cls) -> Self:
        """Give the target that this interpreter is."""
        machine = platform.machine().lower()
        architecture = {"amd64": "x86_64", "aarch64": "arm64"}.get(machine, machine)
        checked = cls.parse(f"python3.{sys.version_info.minor}", architecture)
        return cls(checked.runtime, checked.architecture, _system(), is_local=True)

    @property
    def for_lambda(self) -> Target:
        """The same runtime and processor on Lambda's own system."""
        return Target(self.runtime, self.architecture)

    @property
    def is_this_interpreter(self) -> bool:
        """Whether what is installed here runs there as it is."""
        return self == Target.this_machine()

    @property
    def is_this_python(self) -> bool:
        """Whether bytecode made here is used there; it does not depend on the processor."""
        return self.python == f"3.{sys.version_info.minor}"

    @property
    def machine(self) -> str:
        """The processor, as Python and wheels call it."""
        return {"arm64": "aarch64"}.get(self.architecture, self.architecture)

    @property
    def python(self) -> str:
        """The version of Python: `3.13`."""
        return self.runtime.removeprefix("python")

    @property
    def platforms(self) -> tuple[str, ...]:
        """Platform tags of the wheels that run there, newest first (PEP 600)."""
        old = self.python == "3.11"
        newest = _GLIBC_OF_AMAZON_LINUX_2 if old else _GLIBC_OF_AMAZON_LINUX_2023
        tags = [f"manylinux_2_{minor}_{self.machine}" for minor in range(newest, 4, -1)]
        return (*tags, f"manylinux2014_{self.machine}")

    def __str__(self) -> str:
        return f"{self.runtime} on {self.architecture}"


def _system() -> str:
    # Compiled wheels for musl (Alpine) load nowhere on Lambda, although both are Linux.
    musl = "musl" in str(sysconfig.get_config_var("SOABI"))
    return f"{sys.platform}-musl" if musl else sys.platform
