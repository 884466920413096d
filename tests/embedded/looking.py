"""A task that looks around where it runs; it stands alone, as its module travels with the run."""

from __future__ import annotations

import sys


def homes() -> list[str]:
    """Give the files of all loaded modules, and the path."""
    import sklearn.svm  # noqa: F401

    files = {str(getattr(one, "__file__", None) or "") for one in list(sys.modules.values())}
    return sorted(files - {""}) + sys.path
