"""The progress bar: one for each run, where a person looks.

In a terminal rich draws it, on standard error; in a notebook it is HTML that replaces itself;
elsewhere, if it is asked for, it is a plain line now and then. A run that is over before half a
second has nothing drawn.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TextIO

from wukong.callbacks import Callback, Progress
from wukong.cost import money

if TYPE_CHECKING:
    from wukong.runs import Run

DELAY_SECONDS = 0.5
"""Nothing is drawn for a run that is over before."""

LINE_SECONDS = 5.0
"""How often a plain line is written."""

SHOWN_ID = 8
"""Letters of a run's id that tell it from others."""


class Display(Protocol):
    """Draws the state of one run."""

    def draw(self, progress: Progress) -> None:
        """Show how far the run is."""

    def close(self, progress: Progress, error: BaseException | None) -> None:
        """Show the last state, and leave it standing."""


@dataclass(slots=True)
class _Followed:
    begun: float
    latest: Progress | None = None
    display: Display | None = None


class ProgressBar(Callback):
    """A bar for each run: segments, Executors alive, time, estimated end, money.

    Parameters
    ----------
    file
        Where to draw; standard error unless said otherwise. If it is no terminal, plain lines are
        written instead.
    delay
        Seconds before anything is drawn.
    """

    def __init__(self, file: TextIO | None = None, delay: float = DELAY_SECONDS) -> None:
        self._file = file
        self._delay = delay
        self._runs: dict[str, _Followed] = {}

    def start(self, run: Run) -> None:
        """Begin to wait for something worth drawing."""
        self._runs[run.id] = _Followed(time.monotonic())

    def progress(self, run: Run, progress: Progress) -> None:
        """Draw, if the run takes long enough."""
        followed = self._runs[run.id]
        followed.latest = progress
        if followed.display is None:
            if time.monotonic() - followed.begun < self._delay:
                return
            followed.display = self._open(run.id[:SHOWN_ID])
        followed.display.draw(progress)

    def end(self, run: Run, error: BaseException | None) -> None:
        """Leave the last state standing."""
        followed = self._runs.pop(run.id)
        if followed.display is not None and followed.latest is not None:
            followed.display.close(followed.latest, error)

    def _open(self, name: str) -> Display:
        if self._file is None and in_notebook():
            return Notebook(name)
        file = self._file or sys.stderr
        return Terminal(name, file) if file.isatty() else Lines(name, file)


def automatic() -> ProgressBar | None:
    """Give a bar if somebody looks: in a notebook, or where standard error is a terminal."""
    is_seen = in_notebook() or (sys.stderr is not None and sys.stderr.isatty())
    return ProgressBar() if is_seen else None


def in_notebook() -> bool:
    """Tell whether this is an IPython that shows HTML; loads nothing that is not there already."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def describe(progress: Progress) -> str:
    """Say how far a run is, in a line."""
    of = "" if progress.total is None else f"/{progress.total:,}"
    parts = [f"{progress.done:,}{of} segments"]
    if progress.done != progress.total:
        parts.append(f"{progress.alive:,} Executors")
    parts.append(clock(progress.seconds))
    if progress.remaining:
        parts.append(f"about {clock(progress.remaining)} left")
    parts.append(money(progress.dollars, billed=progress.billed))
    return " · ".join(parts)


def clock(seconds: float) -> str:
    """Write a duration: 0.8 s, 12 s, 3:05 or 1:02:03."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _outcome(error: BaseException | None) -> str:
    return "" if error is None else f" · {type(error).__name__}"


class Terminal:
    """A bar of rich; runs at the same time share one display, as a terminal has one last line."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _shared: ClassVar[dict[TextIO, Any]] = {}

    def __init__(self, name: str, file: TextIO) -> None:
        self._name = name
        self._file = file
        self._bars: Any = None
        self._task: Any = None

    def draw(self, progress: Progress, tail: str = "") -> None:
        """Show the bar, or move it."""
        now = {
            "completed": progress.done,
            "total": progress.total,
            "text": describe(progress) + tail,
        }
        with self._lock:
            if self._bars is None:
                self._bars = self._shared.get(self._file) or _rich_display(self._file)
                self._shared[self._file] = self._bars
                self._task = self._bars.add_task(f"run {self._name}", **now)
                self._bars.start()
            self._bars.update(self._task, refresh=True, **now)

    def close(self, progress: Progress, error: BaseException | None) -> None:
        """Leave the bar standing; the last run takes the display with it."""
        self.draw(progress, _outcome(error))
        with self._lock:
            self._bars.stop_task(self._task)
            if all(task.stop_time is not None for task in self._bars.tasks):
                self._bars.stop()
                self._shared.pop(self._file, None)


def _rich_display(file: TextIO) -> Any:
    """Give a display of rich that draws when it is told to, and needs no thread."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    return Bars(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[text]}"),
        console=Console(file=file),
        auto_refresh=False,
    )


class Notebook:
    """HTML that replaces itself; needs IPython only, which is there if this is used."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._handle: Any = None

    def draw(self, progress: Progress, tail: str = "") -> None:
        """Show the bar, or show it anew."""
        shown: Any = import_module("IPython.display")
        html = shown.HTML(bar_html(self._name, progress, tail))
        if self._handle is None:
            self._handle = shown.display(html, display_id=True)
        else:
            self._handle.update(html)

    def close(self, progress: Progress, error: BaseException | None) -> None:
        """Leave the last state standing."""
        self.draw(progress, _outcome(error))


def bar_html(name: str, progress: Progress, tail: str = "") -> str:
    """Give a bar as HTML."""
    value = f"value='{progress.done}' max='{progress.total}'" if progress.total else ""
    return (
        f"<div>run {escape(name)} <progress {value} style='width:16em'></progress> "
        f"{escape(describe(progress) + tail)}</div>"
    )


class Lines:
    """A plain line now and then, as logs want it."""

    def __init__(self, name: str, file: TextIO) -> None:
        self._name = name
        self._file = file
        self._written = -LINE_SECONDS

    def draw(self, progress: Progress) -> None:
        """Write a line, if the last one is old enough."""
        if progress.seconds - self._written >= LINE_SECONDS:
            self._written = progress.seconds
            self._write(describe(progress))

    def close(self, progress: Progress, error: BaseException | None) -> None:
        """Write the last line."""
        self._write(describe(progress) + _outcome(error))

    def _write(self, text: str) -> None:
        print(f"run {self._name}: {text}", file=self._file, flush=True)
