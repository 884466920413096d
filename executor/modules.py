"""The modules that a run takes with it: unpacked once for each execution environment, and imported.

An environment that is warm may have run another version of the same modules before. That one is
forgotten first, so that a run sees the code that its client has.
"""

from __future__ import annotations

import importlib
import io
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from wukong.messages import Bundle
from wukong.storage import DataRef, shared_ref
from wukong.storage.serialisation import Data

Read = Callable[[Sequence[DataRef]], Sequence[Data | None]]


class Carried:
    """The bundle that this process imports from; only one at a time."""

    def __init__(self) -> None:
        self.digest: str | None = None
        self._folder: Path | None = None

    def use(self, bundle: Bundle, read: Read) -> None:
        """Make the modules of a bundle importable, before anything is that is not in it.

        Parameters
        ----------
        read
            Gives the data of the run that references name. A bundle that is gone is left out: then
            its run is over, which its Executor is told in any case.
        """
        if bundle.digest == self.digest:
            return
        data = read([shared_ref(bundle.blob)])[0]
        if data is None:
            return
        self.forget()
        # Resolved, as modules are recognised by their path.
        self._folder = Path(tempfile.mkdtemp(prefix="wukong-modules-")).resolve()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(self._folder)
        sys.path.insert(0, str(self._folder))
        importlib.invalidate_caches()
        self.digest = bundle.digest

    def forget(self) -> None:
        """Remove what was imported from the bundle, and its files."""
        if self._folder is None:
            return
        folder = str(self._folder)
        for name, module in list(sys.modules.items()):
            if any(place.startswith(folder) for place in _places(module)):
                del sys.modules[name]
        sys.path.remove(folder)
        shutil.rmtree(folder, ignore_errors=True)
        self.digest = self._folder = None


def _places(module: object) -> list[str]:
    """Say where a module is; a package without code of its own has folders only."""
    file = getattr(module, "__file__", None)
    return [file] if file else [str(place) for place in getattr(module, "__path__", ())]
