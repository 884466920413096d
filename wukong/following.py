"""How a run is wanted: its options, and who is told of it; from a client's keywords and a run's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from wukong.callbacks import Callback
from wukong.config import ConfigError, RunOptions
from wukong.progress import ProgressBar, automatic


@dataclass(frozen=True, slots=True)
class Following:
    """Options of a run, and who is told of it.

    Attributes
    ----------
    options
        Its options.
    callbacks
        Who is told, besides those that are told of every run.
    bar
        What is told in the place of the progress bar.
    """

    options: RunOptions
    callbacks: tuple[Callback, ...] = ()
    bar: Callback | None = None

    def changed(self, keywords: Mapping[str, Any]) -> Self:
        """Give a copy with what some keywords say.

        Raises
        ------
        ConfigError
            If one is unknown, or its value cannot be used.
        """
        rest = dict(keywords)
        callbacks = self.callbacks + _checked(rest.pop("callbacks", ()))
        bar = self.bar
        if isinstance(rest.get("progress"), Callback):
            bar = rest["progress"]
            rest["progress"] = True
        return replace(self, options=self.options.changed(rest), callbacks=callbacks, bar=bar)

    def followers(self) -> tuple[Callback, ...]:
        """Say who is told of a run that begins now."""
        match self.options.progress:
            case None:
                bar = self.bar or automatic()
            case True:
                bar = self.bar or ProgressBar()
            case _:
                bar = None
        wanted = (*Callback.active(), *self.callbacks, *([bar] if bar else []))
        return tuple(dict.fromkeys(wanted))


def _checked(callbacks: Any) -> tuple[Callback, ...]:
    each = tuple(callbacks) if isinstance(callbacks, list | tuple | set) else (callbacks,)
    for one in each:
        if not isinstance(one, Callback):
            raise ConfigError(
                f"option callbacks: {one!r:.80} is no wukong.Callback",
                "Give objects of classes that are derived from wukong.Callback.",
            )
    return each
