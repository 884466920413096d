"""Callbacks and the progress bar: who is told what, and that nobody sees what nobody wants."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import dask
import pytest

import wukong
from tests.conftest import until
from wukong.callbacks import Progress
from wukong.config import ConfigError
from wukong.progress import Lines, bar_html, clock, describe


class Told(wukong.Callback):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.done: list[Progress] = []
        self.seen: list[Progress] = []
        self.ended: list[BaseException | None] = []

    def start(self, run: Any) -> None:
        self.started.append(run.id)

    def segment_done(self, run: Any, progress: Progress) -> None:
        self.done.append(progress)

    def progress(self, run: Any, progress: Progress) -> None:
        self.seen.append(progress)

    def end(self, run: Any, error: BaseException | None) -> None:
        self.ended.append(error)


@pytest.fixture(scope="module", params=["threads", "local"])
def client(request: pytest.FixtureRequest) -> Iterator[wukong.Client]:
    with wukong.Client(wukong.Config(), platform=request.param, workers=2) as client:
        yield client


@dask.delayed(pure=True)
def wait_a_while(number: int) -> int:
    time.sleep(0.3)
    return number


@dask.delayed(pure=True)
def fail() -> None:
    raise KeyError("on purpose")


def slow(size: int) -> Any:
    return dask.delayed(sum)([wait_a_while(number) for number in range(size)])


def test_a_callback_hears_of_a_run_from_its_start_to_its_end(client: wukong.Client) -> None:
    with Told() as told:
        assert slow(8).compute() == sum(range(8))
    assert len(told.started) == 1
    assert told.ended == [None]
    last = told.done[-1]
    assert last.done == last.total
    assert [one.done for one in told.done] == sorted({one.done for one in told.done})
    assert any(0 < one.done < last.done for one in told.seen), "it was looked at on the way"
    assert 0 < last.dollars < 0.01


def test_a_callback_hears_what_ended_a_run(client: wukong.Client) -> None:
    told = Told()
    with pytest.raises(KeyError) as caught:
        fail().compute(callbacks=[told])
    assert told.ended == [caught.value]


def test_a_callback_hears_of_the_runs_it_was_given_to_only(client: wukong.Client) -> None:
    told, run = Told(), Told()
    with wukong.Client(wukong.Config(), platform="threads", callbacks=[told]) as other:
        assert client.submit(abs, -1).result() == 1
        assert other.submit(abs, -1).result() == 1
        assert other.map(abs, [-1], callbacks=[run])[0].result() == 1
        assert slow(1).compute() == 0
    assert (len(told.started), len(run.started)) == (3, 1)


def test_a_run_in_the_background_is_told_to_whoever_listened_when_it_was_asked_for(
    client: wukong.Client,
) -> None:
    with Told() as told:
        future = client.compute(slow(4))
    assert future.result() == 6
    until(lambda: told.ended, "the end of the run to be told")
    assert told.ended == [None]


def test_a_callback_that_raises_ends_the_run(client: wukong.Client) -> None:
    class Impatient(wukong.Callback):
        def progress(self, run: Any, progress: Progress) -> None:
            raise TimeoutError("enough")

    with pytest.raises(TimeoutError, match="enough"):
        slow(20).compute(callbacks=[Impatient()])
    assert slow(1).compute() == 0, "the client is not harmed"


def test_a_callback_that_raises_at_the_end_keeps_no_other_from_hearing_of_it() -> None:
    class Late(wukong.Callback):
        def progress(self, run: Any, progress: Progress) -> None:
            raise TimeoutError("too late")

    told = Told()
    with wukong.Client(wukong.Config(), platform="threads", callbacks=[Late(), told]):
        with pytest.raises(TimeoutError, match="too late") as caught:
            dask.delayed(abs)(-1).compute()
    assert told.ended == [caught.value]


def test_what_is_no_callback_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"print.*is no wukong\.Callback"):
        wukong.Client(wukong.Config(), callbacks=[print])  # type: ignore[list-item]


def test_nobody_is_asked_where_nobody_looks(
    client: wukong.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, _ = client._connect()
    asked: list[str] = []
    status = storage.status
    monkeypatch.setattr(storage, "status", lambda run: asked.append(run) or status(run))
    assert slow(2).compute(progress=False, record=False) == 1
    assert asked == []


def test_a_short_run_has_nothing_drawn() -> None:
    file = io.StringIO()
    with wukong.Client(wukong.Config(), platform="threads") as client:
        assert client.map(abs, [-1, -2], progress=wukong.ProgressBar(file))[1].result() == 2
    assert file.getvalue() == ""


def test_plain_lines_are_written_where_no_terminal_is(client: wukong.Client) -> None:
    file = io.StringIO()
    assert slow(8).compute(progress=wukong.ProgressBar(file)) == 28
    first, *_, last = file.getvalue().splitlines()
    assert first.startswith("run ")
    assert "Executors" in first
    assert "$0 here; on Lambda about $" in last
    assert "\x1b" not in file.getvalue()


def test_a_failed_run_leaves_what_it_failed_with(client: wukong.Client) -> None:
    file = io.StringIO()
    late = dask.delayed(lambda _: fail().compute(scheduler="sync"))(slow(6))
    with pytest.raises(KeyError):
        late.compute(progress=wukong.ProgressBar(file))
    assert file.getvalue().rstrip().endswith("KeyError")


SCRIPT = """
import time, dask, wukong

@dask.delayed
def slow(n):
    time.sleep(0.3)
    return n

if __name__ == "__main__":
    with wukong.Client(wukong.Config(), platform="threads", workers=2{options}):
        print("total", dask.delayed(sum)([slow(n) for n in range(16)]).compute())
"""


def in_terminal(options: str) -> tuple[str, str]:
    """Run a script whose standard error is a terminal; gives what it wrote out, and what there."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                if not (data := os.read(ours, 4096)):
                    return
            except OSError:  # what Linux says when the other side is closed
                return
            shown.extend(data)

    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(options=options)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment,
    ) as process:
        os.close(theirs)
        reader = threading.Thread(target=read)
        reader.start()
        out, _ = process.communicate(timeout=120)
        reader.join()
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    return out.decode(), shown.decode()


def test_a_terminal_shows_a_bar_without_being_asked() -> None:
    out, shown = in_terminal("")
    assert "total 120" in out
    assert "━" in shown
    assert "\x1b[" in shown
    assert "Executors" in shown
    assert "17/17 segments" in shown.splitlines()[-2], "the last state is left standing"
    assert "on Lambda about " in shown


def test_a_terminal_shows_nothing_if_so_asked() -> None:
    out, shown = in_terminal(", progress=False")
    assert "total 120" in out
    assert shown == ""


def test_two_runs_at_once_share_a_terminal() -> None:
    ours, theirs = pty.openpty()
    with (
        os.fdopen(theirs, "w") as terminal,
        wukong.Client(wukong.Config(), platform="threads", workers=2) as client,
    ):
        bar = wukong.ProgressBar(terminal, delay=0.0)
        futures = [client.compute(slow(6), progress=bar) for _ in range(2)]
        assert client.gather(futures) == [15, 15]
        shown = b""

        def has_both() -> bool:
            # What is there comes in pieces, and nothing more may come.
            nonlocal shown
            if select.select([ours], [], [], 0)[0]:
                shown += os.read(ours, 65536)
            words = set(shown.decode(errors="replace").replace("\x1b", " ").split())
            return {future.run[:8] for future in futures} <= words

        until(has_both, "both bars")
    os.close(ours)


class Display:
    """IPython's display, as far as a bar uses it."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def HTML(self, text: str) -> str:  # noqa: N802 - its name there
        return text

    def display(self, html: str, display_id: bool) -> Display:
        self.update(html)
        return self

    def update(self, html: str) -> None:
        self.shown.append(html)


def test_a_notebook_shows_html_that_replaces_itself(
    client: wukong.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    display = Display()

    class Shell:
        kernel = object()

    class Ipython:
        display: Any
        get_ipython = staticmethod(Shell)

    monkeypatch.setitem(sys.modules, "IPython", Ipython)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "IPython.display", display)  # type: ignore[arg-type]
    assert slow(8).compute() == 28
    assert len(display.shown) > 1
    assert "<progress value='" in display.shown[-1]


def progress(**changes: Any) -> Progress:
    values = {"done": 3, "total": 4, "alive": 2, "seconds": 6.0, "dollars": 0.5, "billed": True}
    return Progress(**values | changes)


def test_a_line_says_all_that_is_known() -> None:
    assert describe(progress()) == ("3/4 segments · 2 Executors · 6.0 s · about 2.0 s left · $0.50")
    assert describe(progress(total=None)) == "3 segments · 2 Executors · 6.0 s · $0.50"
    assert describe(progress(done=4, billed=False)) == (
        "4/4 segments · 6.0 s · $0 here; on Lambda about $0.50"
    )


def test_what_a_user_named_is_no_html() -> None:
    assert "<b>" not in bar_html("<b>", progress())


def test_lines_are_not_written_all_the_time() -> None:
    file = io.StringIO()
    lines = Lines("a", file)
    for second in range(12):
        lines.draw(progress(seconds=float(second)))
    assert len(file.getvalue().splitlines()) == 3


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.84, "0.8 s"), (12.3, "12 s"), (185, "3:05"), (3723, "1:02:03")]
)
def test_durations_are_written_as_people_read_them(seconds: float, text: str) -> None:
    assert clock(seconds) == text
