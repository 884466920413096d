"""What `import wukong`, help, a ping and a first run cost beside `python -c pass`.

Method: each command is a process of its own, with compiled bytecode in place; all of them take
turns in each round, so that a drifting clock hits all alike; the median of the rounds counts.
Targets: `import wukong` takes less than 1.5 times `python -c pass`, plus 60 ms; the help of each
verb is there within 300 ms.

    python benchmarks/start_up.py [rounds]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

HELP = (
    "import sys; sys.argv[1:] = {}; sys.stdout = open('/dev/null', 'w'); "
    "from wukong.cli.main import run; run()"
)
HELPS = ("", "deploy ", "plan ", "run ", "runs ", "doctor ", "config ", "local up ")

HELP_SECONDS = 0.3

COMMANDS = {
    "python -c pass": "pass",
    "import wukong": "import wukong",
    "Executor answers a ping": (
        "from executor.function import lambda_handler; lambda_handler({'wukong': 'ping'}, None)"
    ),
    "Executor ready to run": "import executor.driver, wukong.storage.valkey",
    "import wukong.client": "import wukong.client",
    **{f"wukong {words}--help": HELP.format(f"{words}--help".split()) for words in HELPS},
}


def seconds(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begun


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(rounds + 1):
        for name, code in COMMANDS.items():
            spent = seconds(code)
            if turn:  # the first round only warms caches
                taken[name].append(spent)
    medians = {name: statistics.median(found) for name, found in taken.items()}
    base = medians["python -c pass"]
    for name, median in medians.items():
        print(f"{name:26} {median * 1000:7.1f} ms   {median / base:5.2f} x pass")
    allowed = 1.5 * base + 0.060
    slowest = max(median for name, median in medians.items() if name.endswith("--help"))
    print(f"slowest help: {slowest * 1000:.1f} ms of {HELP_SECONDS * 1000:.0f} ms")
    own = medians["import wukong"]
    print(f"import wukong: {own * 1000:.1f} ms of {allowed * 1000:.1f} ms (1.5 x pass + 60 ms)")


if __name__ == "__main__":
    main()
