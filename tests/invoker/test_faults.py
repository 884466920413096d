"""The fan-out against a server that misbehaves: nothing is lost, nothing answered is repeated."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from invoker.endpoint import discover
from invoker.engine import Engine, Limits
from tests.certificate import make_certificate
from tests.invoker.faulty import (
    Act,
    FaultyServer,
    Request,
    accept,
    accept_and_close,
    answer,
    cut_off,
    expired,
    reset,
    throttle,
)
from wukong.messages import ExecutorEvent, InvokerReport, Start, Targets

MINUTE = 60.0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    server = FaultyServer(certificate)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "old")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"https://127.0.0.1:{server.port}")
    yield server
    server.close()


Open = Callable[[Limits], Engine]


@pytest.fixture
def open_engine(server: FaultyServer) -> Iterator[Open]:
    engines = []

    def opened(limits: Limits) -> Engine:
        engines.append(Engine(discover(), connections=16, limits=limits))
        return engines[-1]

    yield opened
    for engine in engines:
        engine.close()


@pytest.fixture
def engine(open_engine: Open) -> Engine:
    return open_engine(Limits())


def events(count: int) -> tuple[ExecutorEvent, ...]:
    return tuple(ExecutorEvent("run", (Start(i),), Targets("E:1", "I:1")) for i in range(count))


def assert_each_accepted_once(server: FaultyServer, count: int) -> None:
    assert sorted(server.accepted) == list(range(count))
    assert set(server.accepted.values()) == {1}


def test_half_throttled_events_are_all_accepted_once(server: FaultyServer, engine: Engine) -> None:
    again = answer(429, '{"Message": "slower"}', Retry_After="0")
    server.decide = lambda request: (
        (throttle, again)[request.segment % 2] if request.number % 2 else accept
    )
    assert engine.start(events(80), MINUTE) == InvokerReport(accepted=80)
    assert_each_accepted_once(server, 80)


def test_retry_after_beyond_the_time_ends_an_event_at_once(
    server: FaultyServer, engine: Engine
) -> None:
    server.decide = lambda request: answer(429, "slower", Retry_After="900")
    report = engine.start(events(1), MINUTE)
    assert [one.reason for one in report.refused] == ["HTTP 429: slower; the Invoker's time was up"]


def test_connections_that_are_reset_lose_nothing_and_are_counted(
    server: FaultyServer, engine: Engine
) -> None:
    server.decide = lambda request: (
        reset if request.segment % 5 == 0 and request.attempt == 1 else accept
    )
    assert engine.start(events(100), MINUTE) == InvokerReport(accepted=100, unsure=20)
    assert_each_accepted_once(server, 100)


@pytest.mark.parametrize("act", [accept_and_close, cut_off, answer(202, Connection="close")])
def test_what_was_answered_is_not_sent_again_when_its_connection_ends(
    server: FaultyServer, engine: Engine, act: Act
) -> None:
    server.decide = lambda request: act
    assert engine.start(events(50), MINUTE).accepted == 50
    assert set(server.tries.values()) == {1}


def test_slow_answers_are_waited_for(server: FaultyServer, engine: Engine) -> None:
    all_there = threading.Barrier(4)

    def late(connection: object) -> bool:
        all_there.wait(MINUTE)
        return accept(connection)  # type: ignore[arg-type]

    server.decide = lambda request: late if request.segment < 4 else accept
    assert engine.start(events(40), MINUTE) == InvokerReport(accepted=40)
    assert set(server.tries.values()) == {1}


def test_an_answer_that_never_comes_is_asked_for_again(
    server: FaultyServer, open_engine: Open
) -> None:
    never = threading.Event()

    def silent(connection: object) -> bool:
        return never.wait(MINUTE) and False

    server.decide = lambda request: (
        silent if (request.segment, request.attempt) == (3, 1) else accept
    )
    report = open_engine(Limits(answer=3.0)).start(events(10), MINUTE)
    never.set()
    assert report == InvokerReport(accepted=10, unsure=1)
    assert server.tries[3] == 2


def test_a_server_that_dies_and_comes_back_gets_the_rest(
    server: FaultyServer, engine: Engine
) -> None:
    back = threading.Timer(0.5, server.start)

    def decide(request: Request) -> Act:
        if request.number == 100:
            server.stop()
            back.start()
        return accept

    server.decide = decide
    report = engine.start(events(300), MINUTE)
    back.join()
    assert report.accepted == 300
    # What died with the server may have been accepted, and only that.
    twice = [segment for segment, tries in server.tries.items() if tries > 1]
    assert len(server.accepted) == 300
    assert 0 < len(twice) <= report.unsure <= 16


def test_a_server_that_stays_away_is_given_up(server: FaultyServer, open_engine: Open) -> None:
    server.stop()
    report = open_engine(Limits(outage=0.2)).start(events(3), MINUTE)
    assert report.accepted == report.unsure == 0
    assert len(report.refused) == 3
    assert all("ConnectionRefusedError" in one.reason for one in report.refused)


def test_credentials_that_expire_in_the_middle_are_renewed(
    server: FaultyServer, engine: Engine
) -> None:
    def decide(request: Request) -> Act:
        if request.number == 100:
            os.environ["AWS_SESSION_TOKEN"] = "new"
        is_old = request.headers["x-amz-security-token"] == "old"
        return expired if is_old and request.number >= 100 else accept

    server.decide = decide
    assert engine.start(events(300), MINUTE) == InvokerReport(accepted=300)
    assert server.tries.total() <= 300 + 16


def test_credentials_that_stay_expired_are_reported_in_lambdas_words(
    server: FaultyServer, engine: Engine
) -> None:
    server.decide = lambda request: expired
    report = engine.start(events(20), MINUTE)
    assert [one.position for one in report.refused] == list(range(20))
    assert {one.reason for one in report.refused} == {
        "ExpiredTokenException: The security token included in the request is expired"
    }
    assert set(server.tries.values()) == {2}


def test_when_the_time_is_up_the_report_says_what_became_of_each(
    server: FaultyServer, open_engine: Open
) -> None:
    never = threading.Event()

    def silent(connection: object) -> bool:
        return never.wait(MINUTE) and False

    # More silent ones than connections, so that some are never sent.
    server.decide = lambda request: accept if request.segment < 5 else silent
    report = open_engine(Limits(grace=0.1)).start(events(50), 1.0)
    never.set()
    assert report.accepted == 5
    assert [one.position for one in report.refused] == list(range(5, 50))
    reasons = {one.position: one.reason for one in report.refused}
    for position in range(5, 50):
        if server.tries[position]:
            assert "no answer" in reasons[position]
            assert "may have been started" in reasons[position]
        else:
            assert reasons[position] == "not tried: the Invoker's time was up"
    assert report.unsure == len([one for one in range(5, 50) if server.tries[one]])


def test_connections_closed_between_two_batches_are_noticed_before_they_are_used(
    server: FaultyServer, engine: Engine
) -> None:
    for turn in (1, 2, 3):
        assert engine.start(events(30), MINUTE) == InvokerReport(accepted=30)
        assert set(server.tries.values()) == {turn}
        server.drop_connections()


def test_a_certificate_that_does_not_hold_ends_the_batch_at_once(
    server: FaultyServer, open_engine: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")
    report = open_engine(Limits()).start(events(3), MINUTE)
    assert report.accepted == 0
    assert all("CERTIFICATE_VERIFY_FAILED" in one.reason for one in report.refused)


def test_a_proxy_is_tunnelled_through(
    server: FaultyServer, open_engine: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def pump(source: socket.socket, drain: socket.socket) -> None:
            while data := source.recv(65_536):
                drain.sendall(data)
            with suppress(OSError):
                drain.shutdown(socket.SHUT_WR)

        def serve() -> None:
            near, _ = proxy.accept()
            asked.append(near.recv(65_536).decode().split("\r\n"))
            with near, socket.create_connection(("127.0.0.1", server.port)) as far:
                near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=pump, args=(far, near))
                back.start()
                pump(near, far)
                back.join()

        thread = threading.Thread(target=serve)
        thread.start()
        port = proxy.getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass%21@127.0.0.1:{port}")
        engine = open_engine(Limits())
        assert engine.start(events(1), MINUTE) == InvokerReport(accepted=1)
        engine._pool.close()
        engine._loop.run_until_complete(engine._pool.settle())
        thread.join()
    assert asked[0][0] == f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"
    assert "Proxy-Authorization: Basic dXNlcjpwYXNzIQ==" in asked[0]


class BrokenOffError(Exception):
    pass


def test_what_a_batch_that_was_broken_off_left_behind_is_not_taken_for_the_next_one(
    server: FaultyServer, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def late(connection: object) -> bool:
        release.wait(MINUTE)
        return answer(404, "of the first batch")(connection)  # type: ignore[arg-type]

    def break_off(now: float) -> None:
        if engine._flights:
            raise BrokenOffError

    server.decide = lambda request: late if request.segment < 4 else accept
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_give_up_flights", break_off)
        with pytest.raises(BrokenOffError):
            engine.start(events(4), MINUTE)
    release.set()
    server.decide = lambda request: accept
    assert engine.start(events(40), MINUTE) == InvokerReport(accepted=40)


def test_a_host_that_cannot_be_a_name_is_given_up_as_one_that_is_not_there(
    server: FaultyServer, open_engine: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"https://{'x' * 70}.invalid")
    report = open_engine(Limits(outage=0.2)).start(events(2), MINUTE)
    assert len(report.refused) == 2
    assert all("x" * 70 in one.reason for one in report.refused)


def test_the_number_of_attempts_can_be_set_where_boto3_has_it(
    server: FaultyServer, open_engine: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    server.decide = lambda request: answer(500, "no")
    report = open_engine(Limits()).start(events(2), MINUTE)
    assert len(report.refused) == 2
    assert set(server.tries.values()) == {2}


def test_a_large_event_goes_out_whole(server: FaultyServer, engine: Engine) -> None:
    sizes = []

    def decide(request: Request) -> Act:
        sizes.append(int(request.headers["content-length"]))
        return answer(413, "too large", x_amzn_ErrorType="RequestTooLargeException")

    server.decide = decide
    starts = tuple(Start(i) for i in range(200_000))
    report = engine.start([ExecutorEvent("run", starts, Targets("E:1", "I:1"))], MINUTE)
    assert [one.reason for one in report.refused] == ["RequestTooLargeException: too large"]
    assert sizes == [size for size in sizes if size > 2_000_000]
    assert len(sizes) == 1
