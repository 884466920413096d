"""The alarm, through the real SDK: a call to AWS that hangs ends in time for the answer."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from bootstrap.deadline import AGAIN_SECONDS, Deadline, alarm
from bootstrap.errors import DeadlineError
from bootstrap.function import lambda_handler
from tests.bootstrap.account import ENVIRONMENT, Context, manual


@pytest.fixture
def silent() -> Iterator[str]:
    """Give the address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_call_that_hangs_ends_at_the_deadline_and_is_answered(
    silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**ENVIRONMENT, "AWS_ENDPOINT_URL": silent, "AWS_DEFAULT_REGION": "eu-west-1"}
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    for name, value in {**settings, **keys}.items():
        monkeypatch.setenv(name, value)
    context: Any = Context("request", seconds=2.0)
    answer = lambda_handler(manual("status"), context)
    assert answer["error"]["code"] == "DEADLINE_EXCEEDED"
    assert "hung" in answer["error"]["message"]


class Going:
    """The alarm rings while it goes."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGALRM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_alarm_that_rings_where_python_drops_it_rings_again() -> None:
    def work() -> None:
        Going()
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= AGAIN_SECONDS
        signal.pause()

    with pytest.raises(DeadlineError), alarm(Deadline.after(3_600_000)):
        work()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_alarm_that_rings_as_the_work_ends_is_a_deadline_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It must not get past those who answer errors."""
    real = signal.setitimer

    def late(which: int, seconds: float, *more: float) -> tuple[float, float]:
        if seconds == 0:
            signal.raise_signal(signal.SIGALRM)
        return real(which, seconds, *more)

    # Only as long as it runs: others set timers as well.
    with monkeypatch.context() as patched:
        patched.setattr("bootstrap.deadline.signal.setitimer", late)
        with pytest.raises(DeadlineError), alarm(Deadline.after(60_000)):
            pass
