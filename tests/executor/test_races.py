"""What two threads do at the same moment to what they share."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from valkey.crc import key_slot
from valkey.exceptions import ConnectionError as ValkeyConnectionError

from executor.heartbeat import Heartbeat
from executor.overtime import Overtime
from executor.reading import Reader
from executor.recorder import Silent
from executor.walker import Limits
from executor.work import Work
from tests.conftest import until
from tests.executor.test_driver import Recorder, event
from wukong.messages import ExecutorEvent, Start, Targets
from wukong.platform.deaths import MOST_DEATHS, Deaths
from wukong.platform.interface import Death, PlatformError
from wukong.platform.lines import Lines
from wukong.platform.local import LocalPlatform
from wukong.storage import Begun, Claim, DataRef, Lineage
from wukong.storage.memory import MemoryStorage
from wukong.storage.nodes import Nodes


def together(act: Callable[[], Any], threads: int = 2) -> list[Any]:
    """Do something in several threads, and give what they gave or raised."""
    found: list[Any] = []

    def go() -> None:
        try:
            found.append(act())
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            found.append(error)

    running = [threading.Thread(target=go) for _ in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    return found


class Killed:
    """A worker that has been killed, at which several look."""

    returncode = -9

    def __init__(self) -> None:
        self.looks = threading.Barrier(2)

    def poll(self) -> int:
        with suppress(threading.BrokenBarrierError):
            # Who is alone here waits in vain.
            self.looks.wait(0.5)
        return self.returncode


@pytest.fixture
def platform(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPlatform]:
    """A platform whose one worker is dead, and that only notes whom it hires."""
    monkeypatch.setattr(LocalPlatform, "_hire", lambda _: None)
    platform = LocalPlatform(valkey_url, 1)
    platform._workers["dead"] = Killed()  # type: ignore[assignment]
    yield platform
    platform._workers.clear()
    platform.close()


def taken(platform: LocalPlatform, run: str) -> ExecutorEvent:
    event = ExecutorEvent(run, (Start(0),), Targets("executor", ""))
    platform._server.rpush(f"w:{{{platform._queue}}}:taken:dead", event.to_bytes())
    return event


def test_a_dead_worker_is_replaced_once_whoever_looks_and_its_run_is_told(
    platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    hired: list[None] = []
    monkeypatch.setattr(platform, "_hire", lambda: hired.append(None))
    wanted = taken(platform, "mine")
    found = together(lambda: platform.check("another"))
    assert found == [[], []]
    assert len(hired) == 1
    (death,) = platform.check("mine")
    assert death.event == wanted
    assert platform.check("mine") == [], "once"


def test_a_platform_that_is_closed_hires_nobody(
    platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = platform._workers.pop("dead")
    platform.close()
    platform._workers["dead"] = dead
    hired: list[None] = []
    monkeypatch.setattr(platform, "_hire", lambda: hired.append(None))
    assert platform.check("mine") == []
    assert hired == []


def test_too_many_deaths_end_the_run_that_they_are_of_and_no_other() -> None:
    deaths = Deaths("do something")
    one = Death(ExecutorEvent("bad", (Start(0),), Targets("executor", "")), "it was killed")
    for _ in range(MOST_DEATHS):
        deaths.note([one], one.cause)
    assert len(deaths.of("bad")) == MOST_DEATHS
    deaths.note([one], one.cause)
    for _ in range(2):
        with pytest.raises(PlatformError, match="11 Executors have died"):
            deaths.of("bad")
    assert deaths.of("good") == []
    for _ in range(MOST_DEATHS + 1):
        deaths.note([], "it cannot start")
    with pytest.raises(PlatformError, match="cannot start"):
        deaths.of("good")
    deaths.begin()
    assert deaths.of("good") == []


def test_two_threads_that_find_a_node_gone_ask_another() -> None:
    nodes = Nodes("valkey://127.0.0.1:1")
    dead = object()
    nodes._homes[key_slot(b"run")] = dead
    both = threading.Barrier(2)

    def act(server: object) -> str:
        if server is dead:
            both.wait(10)
            raise ValkeyConnectionError("gone")
        return "found"

    assert together(lambda: nodes.on("run", act)) == ["found", "found"]


def test_a_task_that_ends_while_the_heartbeat_looks_is_not_long() -> None:
    class Ending:
        looks = 0

        @property
        def since(self) -> float | None:
            self.looks += 1
            return 1.0 if self.looks == 1 else None

    work = Work(event(Start(0)), MemoryStorage(), "token", Recorder)
    heartbeat = Heartbeat(MemoryStorage(), "run")
    walkers: Any = [Ending()]
    Overtime(work, heartbeat, walkers, Limits(lambda: 900.0, 0.0)).look()


class Written(Lines):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def say(self, what: str, **fields: Any) -> None:
        self.said.append((what, fields))


def test_a_heartbeat_survives_what_nobody_foresaw_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Careless:
        def look(self) -> None:
            raise ZeroDivisionError("of ours")

    monkeypatch.setattr("executor.heartbeat.LOOK_SECONDS", 0.01)
    lines = Written()
    heartbeat = Heartbeat(MemoryStorage(), "run", lines=lines)
    heartbeat.look_after(Careless())
    with heartbeat:
        until(lambda: len(lines.said) > 1, "a second beat after the first has failed")
    assert lines.said[0] == ("heartbeat fails", {"error": "ZeroDivisionError: of ours"})


class Swapping(dict[DataRef, bytes]):
    """What several lineages begin with; another thread replaces it as soon as it is looked at."""

    work: Work

    def __contains__(self, ref: object) -> bool:
        self.work.shared = {}
        return super().__contains__(ref)

    def get(self, ref: Any, default: Any = None) -> Any:
        self.work.shared = {}
        return super().get(ref, default)


def test_what_lineages_share_is_read_though_another_thread_replaces_it() -> None:
    work = Work(event(Start(0)), MemoryStorage(), "token", Recorder)
    ref = DataRef(0, "0.1.token")
    work.shared = swapping = Swapping({ref: b"value"})
    swapping.work = work
    assert Reader(work, Silent()).read(Claim(1, b"", (ref,)), [ref]) == [b"value"]


class Counting(MemoryStorage):
    """Counts which lineages it was asked to begin."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Start] = []

    def begin(self, run: str, starts: Sequence[Start], token: str) -> list[Begun | None]:
        self.asked += starts
        return [Begun(Lineage(one.segment, 1, token), Claim(0, b"", ()), 15.0) for one in starts]


def test_two_threads_that_are_handed_the_same_lineages_begin_each_once() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        store = Counting()
        work = Work(event(Start(0)), store, "token", Recorder)
        heartbeat = Heartbeat(store, "run")
        starts = [Start(number) for number in range(20_000)]
        together(lambda: work.begin(starts, Silent(), heartbeat), threads=4)
    finally:
        sys.setswitchinterval(before)
    assert len(store.asked) == len(starts)
