"""Chains become segments; the numbers follow Dask's order; nothing is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wukong.graph.segments import collapse, leaves

Graph = dict[str, set[str]]


def collapsed(
    graph: Graph, roots: set[str], most: int = 1
) -> dict[tuple[str, ...], tuple[list, list, bool]]:
    segments = collapse(graph, roots, {key: i for i, key in enumerate(graph)}, most)
    return {
        segment.keys: (
            [segments[i].keys for i in segment.inputs],
            [segments[c].keys for c in segment.children],
            segment.root,
        )
        for segment in segments
    }


def test_a_chain_is_one_segment() -> None:
    assert collapsed({"a": set(), "b": {"a"}, "c": {"b"}}, {"c"}) == {
        ("a", "b", "c"): ([], [], True)
    }


def test_the_example_of_the_docstring() -> None:
    graph: Graph = {"a": set(), "b": {"a"}, "c": {"b"}, "d": {"c"}, "e": {"b"}, "f": {"d", "e"}}
    assert collapsed(graph, {"f"}) == {
        ("a", "b"): ([], [("c", "d"), ("e",)], False),
        ("c", "d"): ([("a", "b")], [("f",)], False),
        ("e",): ([("a", "b")], [("f",)], False),
        ("f",): ([("c", "d"), ("e",)], [], True),
    }


def test_a_root_inside_a_chain_ends_its_segment() -> None:
    assert collapsed({"a": set(), "b": {"a"}}, {"a", "b"}) == {
        ("a",): ([], [("b",)], True),
        ("b",): ([("a",)], [], True),
    }


def test_the_client_counts_as_a_consumer() -> None:
    segments = collapse({"a": set(), "b": {"a"}}, {"a", "b"}, {"a": 0, "b": 1})
    assert [segment.references for segment in segments] == [2, 1]


def test_a_fan_in_takes_its_inputs_in_up_to_so_many_tasks() -> None:
    graph: Graph = {"a": set(), "b": {"a"}, "c": {"b"}, "d": {"c"}, "e": {"b"}, "f": {"d", "e"}}
    assert collapsed(graph, {"f"}, most=4) == {
        ("a", "b"): ([], [("c", "d", "e", "f")], False),
        ("c", "d", "e", "f"): ([("a", "b")], [], True),
    }
    assert collapsed(graph, {"f"}, most=2) == collapsed(graph, {"f"})


def test_a_fan_in_takes_all_of_its_inputs_or_none() -> None:
    graph: Graph = {"a": set(), "b": set(), "c": {"a", "b"}, "d": {"b"}}
    assert set(collapsed(graph, {"c", "d"}, most=9)) == {("a",), ("b",), ("c",), ("d",)}


def test_inputs_of_a_wide_fan_in_that_consume_the_same_share_segments() -> None:
    graph: Graph = {"s": set(), **{f"m{i}": {"s"} for i in range(7)}}
    graph["t"] = {f"m{i}" for i in range(7)}
    segments = collapse(graph, {"t"}, {key: i for i, key in enumerate(graph)}, most=3)
    assert [(one.outputs, one.inputs, one.children) for one in segments] == [
        (("s",), (), (1, 2, 3)),
        (("m0", "m1", "m2"), (0,), (4,)),
        (("m3", "m4", "m5"), (0,), (4,)),
        (("m6",), (0,), (4,)),
        (("t",), (1, 2, 3), ()),
    ]


def test_inputs_of_a_wide_fan_in_that_consume_different_things_do_not_wait_for_each_other() -> None:
    graph: Graph = {"a": set(), "b": set(), "c": {"a"}, "d": {"b"}, "e": {"a"}, "f": {"b"}}
    graph |= {"t": {"c", "d", "e", "f"}}
    segments = collapse(graph, {"t"}, {key: i for i, key in enumerate(graph)}, most=4)
    assert [one.outputs for one in segments] == [("a",), ("b",), ("c", "e"), ("d", "f"), ("t",)]


def test_the_last_quarter_of_the_tasks_is_in_smaller_segments() -> None:
    graph: Graph = {}
    for i in range(8):
        graph |= {f"a{i}": set(), f"b{i}": set(), f"c{i}": {f"a{i}", f"b{i}"}}
    roots = {f"c{i}" for i in range(8)}
    places = {key: i for i, key in enumerate(graph)}
    sizes = [len(one.keys) for one in collapse(graph, roots, places, most=3, last=1)]
    assert sizes == [3] * 6 + [1] * 6


def test_a_tree_becomes_as_many_subtrees_as_fit() -> None:
    graph: Graph = {f"{level}.{i}": set() for level in [4] for i in range(16)}
    for level in (3, 2, 1, 0):
        graph |= {
            f"{level}.{i}": {f"{level + 1}.{2 * i}", f"{level + 1}.{2 * i + 1}"}
            for i in range(2**level)
        }
    segments = collapse(graph, {"0.0"}, {key: i for i, key in enumerate(graph)}, most=7)
    assert sorted(len(one.keys) for one in segments) == [3, 7, 7, 7, 7]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, set[str]]:
    size = draw(st.integers(1, 15))
    names = [f"t{i}" for i in range(size)]
    graph: Graph = {}
    for i, name in enumerate(names):
        graph[name] = draw(st.sets(st.sampled_from(names[:i]), max_size=3)) if i else set()
    used = set().union(*graph.values())
    roots = {name for name in names if name not in used}
    return graph, roots | draw(st.sets(st.sampled_from(names), max_size=2))


@given(graphs(), st.integers(1, 8))
def test_every_task_is_in_one_segment_and_every_edge_is_kept(
    case: tuple[Graph, set[str]], most: int
) -> None:
    graph, roots = case
    segments = collapse(graph, roots, {key: i for i, key in enumerate(graph)}, most)
    home = {key: segment.number for segment in segments for key in segment.keys}
    assert sorted(home) == sorted(graph)
    assert sum(len(segment.keys) for segment in segments) == len(graph)
    for key, inputs in graph.items():
        for name in inputs:
            if home[name] == home[key]:
                keys = segments[home[key]].keys
                assert keys.index(name) < keys.index(key)
                assert [one for one, needs in graph.items() if name in needs] == [key]
                assert name not in roots
            else:
                assert home[name] in segments[home[key]].inputs
                assert home[key] in segments[home[name]].children
                assert name in segments[home[name]].outputs
    assert {segment.keys[-1] for segment in segments if segment.root} == roots
    assert leaves(segments) == [s.number for s in segments if not s.inputs]
