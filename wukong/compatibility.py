"""The check before a run starts: Executors have what its tasks need, in versions that fit.

    needs of the run ──┐
    this environment ──┼─> `check` ─> nothing, or an error that names all of it and says what to do
    theirs (probed) ───┘

The rules for versions are few, and each stands where it is applied with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from wukong.errors import WukongError
from wukong.modules import listed
from wukong.platform.environment import Environment, Probe

DOCUMENT = "docs/surroundings.md"


class SurroundingsError(WukongError):
    """Executors lack a package that the run needs, or have a version that does not fit."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A version that is not the same on both sides.

    Attributes
    ----------
    what
        Python, Wukong, or a distribution.
    here, there
        The versions of the client and of the Executors.
    matters
        Whether values or functions of one side may not be readable by the other.
    remedy
        What to do about it.
    """

    what: str
    here: str
    there: str
    matters: bool
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.here} here, {self.there} in Executors"


def differences(here: Environment, there: Environment) -> list[Difference]:
    """Compare what both sides run on; what only one side has is no difference."""
    found = []
    if here.python != there.python:
        found.append(_python(here.python, there.python))
    if here.release != there.release:
        remedy = "Deploy this release: `wukong deploy`."
        found.append(Difference("wukong", here.release, there.release, False, remedy))
    for name in sorted(here.versions.keys() & there.versions.keys()):
        one, other = here.versions[name], there.versions[name]
        if one != other:
            matters = _parts(one, _TELLING.get(name, 1)) != _parts(other, _TELLING.get(name, 1))
            found.append(Difference(name, one, other, matters, _rebuild(name, one)))
    return found


# How many parts of a version must be the same. Of Dask two, its year and month: tasks are pickled
# objects of a private module. Of the others the first: a new one of NumPy or pandas is a new layout
# of pickles, and one of cloudpickle of functions.
_TELLING = {"dask": 2}


def _python(here: str, there: str) -> Difference:
    # Functions travel as bytecode, which is of one minor version.
    # https://docs.python.org/3/library/dis.html
    minor = ".".join(_parts(here, 2))
    return Difference(
        "Python",
        here,
        there,
        _parts(here, 2) != _parts(there, 2),
        f"Deploy for this Python (`wukong deploy --runtime python{minor}`, and layers built for "
        f"it), or run your script with Python {'.'.join(_parts(there, 2))}.",
    )


def _rebuild(name: str, here: str) -> str:
    if name == "cloudpickle":
        return "It is in the deployment package: build and deploy that again (`wukong deploy`)."
    return (
        f"Build the layer or the bundle that has it with {name}=={here} (`wukong deploy` with "
        "--layers or --bundle takes what is installed here), or install its version here."
    )


def _parts(version: str, count: int) -> tuple[str, ...]:
    return tuple(version.split(".")[:count])


def check(
    packages: Collection[str],
    here: Environment,
    there: Environment,
    ask: Callable[[Probe], Environment],
) -> None:
    """See that Executors have what a run needs.

    Parameters
    ----------
    packages
        Top-level modules that must be installed there.
    ask
        Has an Executor answer another probe: of namespace packages only a search can tell.

    Raises
    ------
    SurroundingsError
        That names every package that is missing, or every version that does not fit.
    """
    bad = [one for one in differences(here, there) if one.matters]
    if bad:
        raise SurroundingsError(
            "Executors run on versions that do not fit: " + "; ".join(map(str, bad)),
            " ".join(dict.fromkeys(one.remedy for one in bad)),
        )
    missing = set(packages) - there.modules
    if missing:
        missing -= ask(Probe(find=tuple(sorted(missing)))).modules
    if missing:
        raise SurroundingsError(
            f"tasks of this run import {listed(missing)}, which Executors do not have",
            f"Add a layer that has {'it' if len(missing) == 1 else 'them'}: "
            f"`wukong deploy --layers ...`; {DOCUMENT} says how. What does not "
            "fit in one goes into a bundle: --bundle, docs/bundles.md.",
        )
