"""Which modules the tasks of a run need where they run: noted while the tasks are pickled.

What travels by reference is imported by the Executor that reads it, so its module must be there.
What travels by value may import modules when it is called; these are noted apart, as such an import
may be one that is tried and not missed.
"""

from __future__ import annotations

import dis
import sys
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle

_NAMING = frozenset({ModuleType, FunctionType, BuiltinFunctionType})


class References:
    """The modules that pickled objects refer to.

    Attributes
    ----------
    modules
        Full names of modules that unpickling imports.
    imports
        Full names of modules that functions import which travel by value.
    """

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.imports: set[str] = set()
        # By address, as to hash code takes longer; while it is known so, it must not be freed.
        self._codes: dict[int, CodeType] = {}
        # Of each kind of objects whether it names a module; it is asked for every object.
        self._names: dict[type, bool] = {}

    def note(self, item: Any) -> None:
        """Note what an object needs that is being pickled; nothing for most objects."""
        kind = type(item)
        names = self._names.get(kind)
        if names is None:
            names = self._names[kind] = kind in _NAMING or issubclass(kind, type)
        if not names:
            return
        if kind is ModuleType:
            self.modules.add(item.__name__)
        elif kind is FunctionType:
            if travels_by_value(item):
                self._note_code(item.__code__)
            else:
                self.modules.add(item.__module__)
        elif kind is BuiltinFunctionType:
            if item.__module__ is not None:
                self.modules.add(item.__module__)
        elif not travels_by_value(item):
            self.modules.add(item.__module__)

    def _note_code(self, code: CodeType) -> None:
        """Note the import statements of a function, and of what is defined in it."""
        if id(code) in self._codes:
            return
        self._codes[id(code)] = code
        self.imports |= {
            str(step.argval) for step in dis.get_instructions(code) if step.opname == "IMPORT_NAME"
        }
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._note_code(constant)


def travels_by_value(item: Any) -> bool:
    """Tell what Executors cannot import, as it is of the user's script or made at run time."""
    module = sys.modules.get(item.__module__)
    if module is None or item.__module__ == "__main__" or _is_registered(item.__module__):
        return True
    found: Any = module
    for name in item.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is not item


def _is_registered(module: str) -> bool:
    """Tell a module, or one of a package, that cloudpickle was told to pickle by value."""
    names = cloudpickle.list_registry_pickle_by_value()
    return any(module == name or module.startswith(f"{name}.") for name in names)
