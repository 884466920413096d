"""Records of runs that nobody has computed, as large as wanted."""

from __future__ import annotations

import random
from array import array

from wukong.messages import Start
from wukong.record import (
    GIVEN_COLUMNS,
    RECORD_COLUMNS,
    ExecutorRecord,
    Outline,
    RunRecord,
    Summary,
)
from wukong.storage.notes import Place, Way, table

START = 1_790_000_000.0


def tree(leaves: int, seed: int = 0) -> RunRecord:
    """Give the record of a tree reduction: an Executor for each leaf, half of which go on."""
    chance = random.Random(seed)
    count, inputs, needs, index, depth = leaves, [], [0] * leaves, [], 0
    level = list(range(leaves))
    index += [f"(0, {i})" for i in level]
    rows, ways, executors = [], bytearray(), []
    owner: dict[int, int] = {}
    arrived: dict[int, float] = {}
    for leaf in level:
        began = START + 0.5 + 4 * chance.random()
        token = f"{leaf * 2654435761 % 2**48:012x}"
        executors.append([token, "leaf", Start(leaf), began])
        owner[leaf] = leaf
        rows.append([leaf, leaf, leaf, *_times(chance, 0.0), 6000, 0])
        arrived[leaf] = began + rows[-1][10]
    while len(level) > 1:
        depth += 1
        above = []
        for place in range(0, len(level) - 1, 2):
            pair = sorted(level[place : place + 2], key=arrived.__getitem__)
            who = owner[pair[1]]
            ready = arrived[pair[1]] - executors[who][3]
            inputs += sorted(pair)
            needs.append(2)
            index.append(f"({depth}, {place // 2})")
            owner[count] = who
            rows.append([who, count, who, *_times(chance, ready), 6000, 2])
            arrived[count] = executors[who][3] + rows[-1][10]
            ways += bytes(Way.MEMORY if one == pair[1] else Way.STORE for one in sorted(pair))
            above.append(count)
            count += 1
        level = above + level[len(level) - len(level) % 2 :]
    ends: dict[int, float] = {}
    for row in rows:
        ends[row[0]] = max(ends.get(row[0], 0.0), row[10])
    made = tuple(
        ExecutorRecord(
            token=token,
            parent="",
            reason=reason,
            hop=0,
            lineages=(start,),
            stopped=0,
            place=Place("WukongExecutor:7", 3008, token, token, 0.7, 0),
            began=began,
            ended=ends[number] + 0.001,
            failed=None,
            traffic=(0, 0, 0, 0, 6000),
        )
        for number, (token, reason, start, began) in enumerate(executors)
    )
    outline = Outline(
        names=("add-0123abcd",),
        name=array("I", [0] * count),
        index=tuple(index),
        kinds=("add",),
        kind=array("I", [0] * count),
        tasks=array("I", [1] * count),
        root=array("B", [0] * (count - 1) + [1]),
        needs=array("I", needs),
        inputs=array("I", inputs),
    )
    summary = Summary(
        run=f"{seed:032x}",
        title="add",
        started=START,
        submitted=START + 0.4,
        ended=max(arrived.values()),
        platform="aws",
        where={"region": "us-east-1"},
        tasks=count,
        segments=count,
        executors=leaves,
        begun=leaves,
        version="0.1.0",
    )
    cells = [cell for row in rows for cell in row]
    return RunRecord(
        summary,
        outline,
        made,
        table(RECORD_COLUMNS, cells),
        array("B", ways),
        table(GIVEN_COLUMNS),
    )


def _times(chance: random.Random, ready: float) -> list[float]:
    """Give ready, began, fetch, computing, compute, pack, arrive, arrived."""
    fetch, compute = 0.002 + 0.01 * chance.random(), 0.05 + 0.4 * chance.random() ** 3
    pack, arrive = 0.001, 0.002 + 0.003 * chance.random()
    began = ready + 0.0005
    computing = began + fetch
    return [
        ready,
        began,
        fetch,
        computing,
        compute,
        pack,
        arrive,
        computing + compute + pack + arrive,
    ]
