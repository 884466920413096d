"""How fast the Invoker starts Executors, beside boto3, against a stub of Lambda's API over TLS.

Method: the stub (benchmarks/invoke_stub.py) is a process on core 1, each client one on core 0.
Clients take turns in each round, on connections that a first round has opened; the median of the
rounds counts. CPU is the client's own, of the process, its threads included. Read the ratios, as
clocks vary. The stub is Python as well: where it is busy all the time, it is the stub that is
measured, and a quicker client would show no better. What it is not: Lambda, or a network.

It prints Markdown; last, every target and whether it is met.

    python benchmarks/fanout.py [rounds [case...]]
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

CLIENT_CORE, STUB_CORE = 0, 1
FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """What is started in a round, and how the stub answers."""

    name: str
    count: int
    size: int
    latency: float = 0.0
    throttles: bool = False


@dataclass(frozen=True)
class Peer:
    """A client: what it is built on, and how many connections (or threads) it has."""

    kind: str
    connections: int

    def __str__(self) -> str:
        return f"{self.kind} {self.connections}"


ENGINE_64, ENGINE_256 = Peer("engine", 64), Peer("engine", 256)
BOTO3 = Peer("boto3", 64)
UNREAD = Peer("boto3 unread", 1)
WARMING = 20
FEW = 40
"""So few for the client that opens a connection for each call."""

CASES: list[tuple[Case, list[Peer]]] = [
    (Case("2 KB", 4000, 2_000), [ENGINE_64, ENGINE_256, BOTO3, UNREAD]),
    (Case("100 KB", 1000, 100_000), [ENGINE_64, ENGINE_256, BOTO3]),
    (Case("2 KB, 50 ms", 1000, 2_000, 0.05), [ENGINE_64, ENGINE_256, BOTO3]),
    (Case("2 KB, 50 ms, many", 5000, 2_000, 0.05), [ENGINE_64, ENGINE_256, BOTO3]),
    (Case("2 KB, half 429", 1000, 2_000, 0.0, throttles=True), [ENGINE_64, BOTO3]),
]


# One client: a process that starts a batch for each line it is sent.


class Packed:
    """An event that is a payload already: making 100 KB of JSON costs more than sending it."""

    filler = b"r" * 100_000

    def __init__(self, targets: Any, head: bytes) -> None:
        self.targets, self.head = targets, head

    def to_bytes(self) -> bytes:
        return self.head + self.filler


def made_events(case: Case, turn: int) -> list[Any]:
    from wukong.messages import ExecutorEvent, Start, Targets

    targets = Targets("E:1", "I:1")
    if case.size >= len(Packed.filler):
        return [Packed(targets, f"{turn} {number} ".encode()) for number in range(case.count)]
    run = f"{turn}-" + "r" * (case.size - 130)
    return [ExecutorEvent(run, (Start(number),), targets) for number in range(case.count)]


Starter = tuple[Callable[[Sequence[Any]], int], Callable[[], int]]
"""What starts events and gives how many were accepted; and how many connections it has."""


def engine_starter(peer: Peer) -> Starter:
    from invoker.endpoint import discover
    from invoker.engine import Engine

    engine = Engine(discover(), connections=peer.connections)
    return lambda events: engine.start(events, 600.0).accepted, lambda: engine._pool.size


def boto3_starter(peer: Peer) -> Starter:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError

    config = Config(max_pool_connections=peer.connections)
    client: Any = boto3.client("lambda", config=config)
    kept: list[Any] = []

    def start(event: Any) -> int:
        try:
            answer = client.invoke(
                FunctionName=event.targets.executor,
                InvocationType="Event",
                Payload=event.to_bytes(),
            )
        except ClientError:
            return 0
        if peer.kind == "boto3":
            answer["Payload"].read()
        else:
            kept[:] = [answer]
        return 1

    if peer.connections == 1:
        return lambda events: sum(map(start, events)), lambda: 1
    pool = ThreadPoolExecutor(peer.connections)
    return lambda events: sum(pool.map(start, events)), lambda: peer.connections


def client(peer: Peer, case: Case) -> None:
    starter = engine_starter if peer.kind == "engine" else boto3_starter
    start, connections = starter(peer)
    for turn, _ in enumerate(sys.stdin):
        # The first round opens the connections, for which there must be enough to do.
        count = case.count if turn else max(case.count, WARMING * peer.connections)
        events = made_events(replace(case, count=count), turn)
        begun, cpu = time.perf_counter(), time.process_time()
        accepted = start(events)
        result = {
            "accepted": accepted,
            "seconds": time.perf_counter() - begun,
            "cpu": time.process_time() - cpu,
            "connections": connections(),
            "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(result), flush=True)


COLD = {
    "engine": """
from invoker.fanout import start_all
from invoker.function import _engine
from wukong.messages import ExecutorEvent, Start, Targets
from wukong.platform.surroundings import store
events = [ExecutorEvent("cold", (Start(0),), Targets("E:1", "I:1"))]
assert start_all(_engine(), events, 60.0, store).accepted == 1
""",
    "boto3": """
import boto3
boto3.client("lambda").invoke(FunctionName="E:1", InvocationType="Event", Payload=b"cold")
""",
}
COLD_FRAME = """
import os, time, resource
os.sched_setaffinity(0, {{{core}}})
begun = time.process_time()
{code}
print((time.process_time() - begun) * 1000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


# The driver.


class Stub:
    """The stub's process, and what it is told between rounds."""

    def __init__(self, folder: Path) -> None:
        certificate, bundle = folder / "stub.pem", folder / "bundle.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *("-subj", "/CN=stub", "-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", str(certificate), "-out", str(folder / "certificate.pem")),
            ],
            check=True,
            capture_output=True,
        )
        own = (folder / "certificate.pem").read_text()
        certificate.write_text(certificate.read_text() + own)
        import certifi

        # As many as there are for the real one: reading them is a part of a cold start.
        bundle.write_text(Path(certifi.where()).read_text() + own)
        self.process = subprocess.Popen(
            [sys.executable, str(FOLDER / "invoke_stub.py"), str(certificate), str(STUB_CORE)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.context = ssl.create_default_context(cafile=str(bundle))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_SESSION_TOKEN": "token" * 150,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"https://127.0.0.1:{self.port}",
            "AWS_CA_BUNDLE": str(bundle),
            "NO_PROXY": "127.0.0.1",
        }

    def set(self, latency: float, *, throttles: bool) -> dict[str, float]:
        """Set how it answers; gives what it saw since the last time."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context)
        connection.request("PUT", f"/{latency}/{int(throttles)}")
        said: dict[str, float] = json.loads(connection.getresponse().read())
        connection.close()
        return said


class Client:
    """One client's process and what its rounds took."""

    def __init__(self, stub: Stub, peer: Peer, case: Case) -> None:
        count = FEW if peer is UNREAD else case.count
        self.peer, self.case = peer, Case(**{**asdict(case), "count": count})
        self.stub = stub
        self.rounds: list[dict[str, float]] = []
        self.process = subprocess.Popen(
            [sys.executable, __file__, "client", json.dumps([asdict(peer), asdict(self.case)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=stub.environment,
            text=True,
        )
        os.sched_setaffinity(self.process.pid, {CLIENT_CORE})

    def round(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        before = self.stub.set(self.case.latency, throttles=self.case.throttles)
        print("go", file=self.process.stdin, flush=True)
        result = json.loads(self.process.stdout.readline())
        seen = self.stub.set(0.0, throttles=False)
        assert seen["bodies"] == result["accepted"], (seen, result)
        busy = (seen["cpu"] - before["cpu"]) / result["seconds"]
        self.rounds.append({**result, "busy": busy})

    def median(self, name: str) -> float:
        return statistics.median(one[name] for one in self.rounds[1:])

    @property
    def speed(self) -> float:
        """Invocations in a second."""
        return self.case.count / self.median("seconds")

    @property
    def cpu(self) -> float:
        """Microseconds for each."""
        return self.median("cpu") / self.case.count * 1e6

    @property
    def accepted(self) -> float:
        """How many were accepted in the worst round."""
        return min(one["accepted"] for one in self.rounds[1:])

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


Clients = dict[tuple[str, Peer], Client]


def cold(stub: Stub, kind: str, rounds: int) -> tuple[float, float]:
    found = []
    for _ in range(rounds):
        stub.set(0.0, throttles=False)
        code = COLD_FRAME.format(core=CLIENT_CORE, code=COLD[kind])
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=stub.environment,
            check=True,
            capture_output=True,
            text=True,
        )
        found.append([float(word) for word in done.stdout.split()])
    return statistics.median(one[0] for one in found), statistics.median(one[1] for one in found)


def compare(stub: Stub, case: Case, peers: list[Peer], rounds: int) -> Clients:
    clients = {(case.name, peer): Client(stub, peer, case) for peer in peers}
    for _ in range(rounds + 1):
        for one in clients.values():
            one.round()
    for (_, peer), one in clients.items():
        one.end()
        last = one.rounds[-1]
        print(
            f"| {case.name} | {peer} | {one.case.count:,} | {one.median('seconds'):.3f} "
            f"| {one.speed:,.0f} | {one.cpu:,.0f} | {last['connections']:.0f} "
            f"| {last['rss']:.0f} | {one.median('busy'):.0%} | {one.accepted:,.0f} |",
            flush=True,
        )
    return clients


HEAD = """
| case | client | invocations | s | each s | CPU us each | connections | MB | stub busy | accepted |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"""


@dataclass(frozen=True)
class Target:
    """One figure, what it is to be, and whether it is to be at least or at most that."""

    what: str
    measured: float
    wanted: float
    unit: str
    at_least: bool = False

    def __str__(self) -> str:
        more = self.measured - self.wanted
        verdict = "met" if (more >= 0 if self.at_least else more <= 0) else "**missed**"
        bound = "at least" if self.at_least else "at most"
        digits = 0 if self.measured >= 50 or not self.measured else 2 if self.measured < 5 else 1
        measured = f"{self.measured:.{digits}f}"
        return f"| {self.what} | {measured} {self.unit} | {bound} {self.wanted:g} | {verdict} |"


def targets(found: Clients, cold_cpu: float) -> Iterator[Target]:
    """Give what is to be shown; only of what was measured."""
    names = {name for name, _ in found}
    if "2 KB" in names:
        engine = found["2 KB", ENGINE_64]
        faster = engine.speed / found["2 KB", BOTO3].speed
        yield Target("2 KB, boto3 with 64 threads", faster, 10, "times", at_least=True)
        faster = engine.speed / found["2 KB", UNREAD].speed
        yield Target("2 KB, boto3 that leaves `Payload` unread", faster, 90, "times", at_least=True)
        for peer in (ENGINE_64, ENGINE_256):
            cpu = found["2 KB", peer].cpu
            yield Target(f"2 KB, CPU each, {peer.connections} connections", cpu, 100, "us")
    for name in ("2 KB, 50 ms", "2 KB, 50 ms, many"):
        for peer in (ENGINE_64, ENGINE_256) if name in names else ():
            one = found[name, peer]
            bound = one.case.latency * one.case.count / peer.connections
            what = f"50 ms, {one.case.count:,} by {peer.connections} connections"
            yield Target(what, one.median("seconds") / bound, 1.15, "times the bound")
    if "100 KB" in names:
        faster = found["100 KB", ENGINE_64].speed / found["100 KB", BOTO3].speed
        yield Target("100 KB, boto3 with 64 threads", faster, 4, "times", at_least=True)
    if {"2 KB", "2 KB, half 429"} <= names:
        half = found["2 KB, half 429", ENGINE_64]
        lost = half.case.count - half.accepted
        yield Target("half 429, events that were not accepted", lost, 0, "")
        more = half.cpu / found["2 KB", ENGINE_64].cpu
        yield Target("half 429, CPU for each accepted", more, 3, "times")
    if "2 KB, 50 ms, many" in names:
        rss = found["2 KB, 50 ms, many", ENGINE_256].rounds[-1]["rss"]
        yield Target("memory with 256 connections", rss, 60, "MB")
    yield Target("cold start, import to first answer, CPU", cold_cpu, 150, "ms")


def main() -> None:
    rounds, names = int(sys.argv[1]) if len(sys.argv) > 1 else 5, sys.argv[2:]
    found: Clients = {}
    with tempfile.TemporaryDirectory() as folder:
        stub = Stub(Path(folder))
        try:
            print(HEAD)
            for case, peers in CASES:
                if case.name in names or not names:
                    found |= compare(stub, case, peers, rounds)
            print()
            starts = {kind: cold(stub, kind, max(rounds, 5)) for kind in COLD}
            for kind, (cpu, rss) in starts.items():
                print(f"cold start to first answer, {kind}: {cpu:.0f} ms CPU, {rss:.0f} MB")
            print("\n| the engine, 64 connections unless it says | measured | target | |")
            print("|---|--:|--:|---|")
            for target in targets(found, starts["engine"][0]):
                print(target)
        finally:
            stub.process.kill()
            stub.process.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        peer_fields, case_fields = json.loads(sys.argv[2])
        client(Peer(**peer_fields), Case(**case_fields))
    else:
        main()
