"""What of a wheel a run never needs: decided by names alone, each with its reason.

Only what no import reaches is left out: a test imports every module of the layers, and knows of the
few that cannot be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

TESTS = "tests"
HEADERS = "headers and libraries to build with"
SOURCES = "sources of what is compiled"
STUBS = "types for checkers"
METADATA = "records of the installer"
CACHES = "caches"

_KEPT_OF_METADATA = (
    "METADATA",
    # Dask and pandas find what is registered with them by entry points.
    "entry_points.txt",
    "licenses",
    "LICENSE",
    "LICENCE",
    "COPYING",
    "NOTICE",
    "AUTHORS",
)

_SUFFIXES: Mapping[str, str] = {
    **dict.fromkeys((".a", ".cmake", ".h", ".hh", ".hpp", ".lib", ".pc", ".pxd", ".pxi"), HEADERS),
    **dict.fromkeys((".c", ".cc", ".cpp", ".cu", ".f", ".f90", ".pyx", ".tp"), SOURCES),
    **dict.fromkeys((".pyi", ".typed"), STUBS),
    ".pyc": CACHES,
}


def left_out(names: Iterable[str], *, reads_stubs: bool = False) -> dict[str, str]:
    """Say which files of a wheel are left out, and why.

    Parameters
    ----------
    names
        Of all its files, as they are installed.
    reads_stubs
        Whether the package reads its stubs at run time.
    """
    every = [PurePosixPath(name) for name in names]
    tests = _tests(every)
    reasons = {str(path): _reason(path, tests) for path in every}
    kept = {"", STUBS} if reads_stubs else {""}
    return {name: reason for name, reason in reasons.items() if reason not in kept}


def _tests(every: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """Find the folders with tests: by their name, and because there are tests in them."""
    found = set()
    for path in every:
        if path.name.startswith("test_") and path.suffix in {".py", ".so"}:
            found |= {above for above in path.parents if above.name in {"tests", "test"}}
    return found


def _reason(path: PurePosixPath, tests: set[PurePosixPath]) -> str:
    if path.parts[0].endswith(".dist-info"):
        is_kept = len(path.parts) > 1 and path.parts[1].startswith(_KEPT_OF_METADATA)
        return "" if is_kept else METADATA
    if "__pycache__" in path.parts:
        return CACHES
    if path.name == "conftest.py" or tests.intersection(path.parents):
        return TESTS
    return _SUFFIXES.get(path.suffix, "")
