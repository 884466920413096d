"""Which versions of client and Executors fit together, and what is said where they do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wukong.compatibility import SurroundingsError, check, differences
from wukong.messages import MessageError
from wukong.platform.probe import Environment, Probe, answer, environment_here

HERE = Environment(
    release="1.0",
    python="3.13.2",
    machine="arm64",
    versions={"dask": "2026.3.0", "numpy": "2.1.0", "cloudpickle": "3.1.2"},
    modules=frozenset({"dask", "numpy"}),
    memory_bytes=1,
    processors=1,
)


def nobody(probe: Probe) -> Environment:
    raise AssertionError(f"asked {probe}")


@pytest.mark.parametrize(
    ("changed", "matters", "remedy"),
    [
        ({"python": "3.13.9"}, False, ""),
        ({"python": "3.12.2"}, True, "--runtime python3.13"),
        ({"release": "1.1"}, False, "wukong deploy"),
        ({"versions": {"dask": "2026.3.1"}}, False, "dask==2026.3.0"),
        ({"versions": {"dask": "2026.4.0"}}, True, "dask==2026.3.0"),
        ({"versions": {"numpy": "2.3.0"}}, False, "numpy==2.1.0"),
        ({"versions": {"numpy": "1.26.0"}}, True, "numpy==2.1.0"),
        ({"versions": {"cloudpickle": "4.0.0"}}, True, "wukong deploy"),
    ],
)
def test_a_version_matters_if_one_side_may_not_read_the_other(
    changed: dict[str, object], matters: bool, remedy: str
) -> None:
    there = replace(HERE, **changed)  # type: ignore[arg-type]
    (found,) = differences(HERE, there)
    assert found.matters is matters
    assert remedy in found.remedy
    if matters:
        with pytest.raises(SurroundingsError, match=found.what):
            check([], HERE, there, nobody)
    else:
        check([], HERE, there, nobody)


def test_what_only_one_side_has_is_no_difference() -> None:
    assert not differences(HERE, replace(HERE, versions={"pandas": "3.0"}, machine="x86_64"))


def test_all_that_does_not_fit_is_told_at_once() -> None:
    there = replace(HERE, python="3.12.2", versions={"dask": "2026.4.0", "numpy": "1.0"})
    with pytest.raises(SurroundingsError) as caught:
        check([], HERE, there, nobody)
    assert all(what in caught.value.message for what in ("Python", "dask", "numpy"))


def test_missing_packages_are_all_named_with_what_to_do() -> None:
    def ask(probe: Probe) -> Environment:
        assert probe.find == ("namespace", "pandas", "rare")
        return replace(HERE, modules=HERE.modules | {"namespace"})

    with pytest.raises(SurroundingsError, match="import pandas, rare, which") as caught:
        check(["numpy", "namespace", "pandas", "rare"], HERE, HERE, ask)
    assert "layer" in caught.value.hint


def test_what_is_there_needs_no_second_question() -> None:
    check(["numpy", "dask"], HERE, HERE, nobody)


def test_a_probe_and_its_answer_travel_as_json(valkey_url: str) -> None:
    import json

    from wukong.platform.context import use

    probe = Probe.from_event(json.loads(Probe(("json", "no_such"), thorough=True).to_bytes()))
    with use({"WUKONG_STORE_URL": valkey_url}):
        told = Environment.from_event(json.loads(json.dumps(answer(probe).to_event())))
    here = environment_here()
    assert told.modules == here.modules | {"json"}
    assert (told.store, told.versions, told.python) == ("", here.versions, here.python)
    assert {"dask", "numpy"} <= told.modules


def test_what_overflow_bundles_have_is_told_without_unpacking_them(tmp_path: Path) -> None:
    import json

    from wukong.platform.context import use
    from wukong.platform.overflow import OverflowBundle

    bundle = OverflowBundle(
        "ml", "3.11", "arm64", 9, frozenset({"far_away"}), {"scipy": "0.1", "far-away": "2"}, ()
    )
    manifest = {"bundles": [bundle.to_manifest()]}
    (tmp_path / "wukong.json").write_text(json.dumps(manifest))
    with use({"WUKONG_BUNDLES": f"file:{tmp_path}"}):
        told = answer(Probe(find=("far_away", "further_away")))
    assert "far_away" in told.modules
    assert "further_away" not in told.modules
    assert told.versions["scipy"] == "0.1"
    assert "far-away" not in told.versions


def test_what_must_be_built_again_is_said_for_each_version() -> None:
    others = {"dask": "2020.1", "numpy": "1.0", "cloudpickle": "0.1"}
    here = replace(HERE, versions={"dask": "2026.8.0", "numpy": "2.4.6", "cloudpickle": "3.1.2"})
    there = replace(HERE, python="3.7.1", versions=others)
    with pytest.raises(SurroundingsError, match="Python: .*; cloudpickle: .*; dask: .*; numpy: "):
        check([], here, there, nobody)
    with pytest.raises(SurroundingsError) as caught:
        check([], here, there, nobody)
    for told in ("wukong deploy --runtime python3", "dask==2026.8.0", "numpy==2.4.6", "--bundle"):
        assert told in caught.value.hint
    assert "deployment package" in caught.value.hint


def test_a_store_that_is_not_reached_is_told_in_the_answer() -> None:
    from wukong.platform.context import use

    with use({"WUKONG_STORE_URL": "valkey://127.0.0.1:9"}):
        assert "127.0.0.1:9" in (answer(Probe(thorough=True)).store or "")
    with use({}):
        assert "WUKONG_STORE_URL is not set" in (answer(Probe(thorough=True)).store or "")


def test_an_answer_of_another_kind_is_refused() -> None:
    with pytest.raises(MessageError, match="'wukong'"):
        Environment.from_event({"wukong": "pong"})
