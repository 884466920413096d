"""The examples compute what they say: each against a direct calculation with NumPy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import dask
import numpy as np
import pytest

from tests.examples.scripts import load


@pytest.fixture(autouse=True)
def in_this_thread() -> Iterator[None]:
    with dask.config.set(scheduler="synchronous"):
        yield


def compute(*collections: Any) -> Any:
    values = dask.compute(*collections)
    return values[0] if len(values) == 1 else values


@pytest.mark.parametrize("numbers", [2, 3, 7, 8, 100])
def test_the_tree_reduction_sums_any_count_of_numbers(numbers: int) -> None:
    assert compute(load("tree_reduction.py").build(numbers)) == sum(range(numbers))


def test_the_tree_reduction_adds_in_pairs_level_by_level() -> None:
    tree = load("tree_reduction.py").build(16)
    assert len(dict(tree.dask)) == 8 + 4 + 2 + 1


@pytest.mark.parametrize("numbers", [0, 1])
def test_a_tree_of_fewer_than_two_numbers_is_refused(numbers: int) -> None:
    with pytest.raises(ValueError, match="numbers"):
        load("tree_reduction.py").build(numbers)


@pytest.mark.parametrize(("n", "chunk"), [(60, 20), (50, 16), (10, 10)])
def test_gemm_is_the_exact_matrix_product(n: int, chunk: int) -> None:
    script = load("gemm.py")
    left, right = compute(*script.operands(n, chunk, seed=3))
    assert left.max() == 9
    assert not np.array_equal(left, right)
    np.testing.assert_array_equal(compute(script.build(n, chunk, seed=3)), left @ right)


def test_the_tall_and_skinny_svd_gives_the_singular_values_and_the_matrix_back() -> None:
    script = load("svd_tall_skinny.py")
    x = compute(script.matrix(500, 10, 90, seed=1))
    u, s, v = compute(*script.build(500, 10, 90, seed=1))
    np.testing.assert_allclose(s, np.linalg.svd(x, compute_uv=False))
    np.testing.assert_allclose((u * s) @ v, x)


def test_the_tall_and_skinny_svd_of_a_rank_approximates_the_largest_singular_values() -> None:
    script = load("svd_tall_skinny.py")
    x = compute(script.matrix(500, 10, 90, seed=1))
    u, s, v = compute(*script.build(500, 10, 90, rank=5, seed=1))
    assert (u.shape, s.shape, v.shape) == ((500, 5), (5,), (5, 10))
    # More random directions than columns: nothing is lost in the projection.
    np.testing.assert_allclose(s, np.linalg.svd(x, compute_uv=False)[:5])


def test_the_square_svd_approximates_the_largest_singular_values_from_below() -> None:
    script = load("svd_square.py")
    x = compute(script.matrix(120, 50, seed=1))
    u, s, v = compute(*script.build(120, 50, rank=4, power_iterations=3, seed=1))
    exact = np.linalg.svd(x, compute_uv=False)[:4]
    np.testing.assert_allclose(s[0], exact[0])
    np.testing.assert_allclose(s, exact, rtol=0.1)
    assert np.all(s <= exact * (1 + 1e-12))
    np.testing.assert_allclose(u.T @ u, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(v @ v.T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(u.T @ x @ v.T, np.diag(s), atol=1e-9)


def test_tsqr_gives_an_orthonormal_q_and_the_triangular_r_of_the_matrix() -> None:
    script = load("tsqr.py")
    x = compute(script.matrix(400, 12, 75, seed=1))
    q, r = compute(*script.build(400, 12, 75, seed=1))
    np.testing.assert_allclose(q @ r, x)
    np.testing.assert_allclose(q.T @ q, np.eye(12), atol=1e-12)
    np.testing.assert_allclose(np.abs(r), np.abs(np.linalg.qr(x, mode="r")), atol=1e-12)


def test_svc_counts_what_the_majority_of_the_classifiers_gets_right() -> None:
    svm = pytest.importorskip("sklearn.svm")
    script = load("svc.py")
    parts = [script.make_part(150, 6, 2, part) for part in range(4)]
    *training, (points, classes) = parts
    predictions = [svm.SVC(C=0.5).fit(*part).predict(points) for part in training]
    majority = np.median(predictions, axis=0)
    right = int((majority == classes).sum())
    assert right > 150 * 0.75
    assert compute(script.build(450, 150, features=6, penalty=0.5, seed=2)) == right


@pytest.mark.parametrize("chunk", [0, 101])
def test_svc_refuses_parts_that_the_samples_cannot_fill(chunk: int) -> None:
    with pytest.raises(ValueError, match="chunk"):
        load("svc.py").build(100, chunk)


def test_svc_without_scikit_learn_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(SystemExit, match=r"pip install 'wukong\[svc\]'"):
        load("svc.py").main([])


def test_svc_of_dask_ml_counts_what_one_classifier_gets_right() -> None:
    pytest.importorskip("dask_ml")
    svm = pytest.importorskip("sklearn.svm")
    from dask_ml.datasets import make_classification

    script = load("svc_dask_ml.py")
    points, classes = compute(
        *make_classification(n_samples=600, n_features=20, chunks=200, random_state=3)
    )
    few = slice(script.TRAINING)
    alone = svm.SVC(C=0.5, gamma="scale").fit(points[few], classes[few])
    right = int((alone.predict(points) == classes).sum())
    assert right > 600 * 0.7
    assert compute(script.build(600, 200, penalty=0.5, seed=3)) == right


def test_svc_of_dask_ml_without_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "dask_ml", None)
    with pytest.raises(SystemExit, match=r"pip install 'wukong\[dask-ml\]'"):
        load("svc_dask_ml.py").main([])
