"""SVC with Dask-ML: one support vector classifier, which classifies very many points in parallel.

A classifier is trained on a few points in this process, as its training time grows faster than its
data; then each chunk of a large array is classified by a task. Needs Dask-ML, here and where
Executors run (docs/bundles.md): pip install 'wukong[dask-ml]'.

    python examples/svc_dask_ml.py --samples 128000 --chunk 8000
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

import dask

TRAINING = 1_000
"""The most points to train on."""


def train(points: Any, classes: Any, penalty: float) -> Any:
    """Fit a classifier to a few points; its predictions are parallel from then on."""
    from dask_ml.wrappers import ParallelPostFit
    from sklearn.svm import SVC

    few = dask.compute(points[:TRAINING], classes[:TRAINING])
    return ParallelPostFit(SVC(C=penalty, gamma="scale")).fit(*few)


def build(samples: int, chunk: int, features: int = 20, penalty: float = 1.0, seed: int = 0) -> Any:
    """Give how many points the classifier puts into the right class; trains it here."""
    if not 0 < chunk <= samples:
        raise ValueError(f"chunk: expected 1 to {samples} (the samples), got {chunk}")
    from dask_ml.datasets import make_classification

    points, classes = make_classification(
        n_samples=samples, n_features=features, chunks=chunk, random_state=seed
    )
    return (train(points, classes, penalty).predict(points) == classes).sum()


def main(argv: Sequence[str] | None = None) -> None:
    """Read the sizes, compute and print how many points were classified right."""
    parser = argparse.ArgumentParser(description="Classify many points with one classifier.")
    parser.add_argument("--samples", type=int, default=8_000, help="to classify (default 8000)")
    parser.add_argument("--chunk", type=int, default=1_000, help="of a task (default 1000)")
    parser.add_argument("--features", type=int, default=20, help="of a sample (default 20)")
    parser.add_argument("--penalty", type=float, default=1.0, help="C of the SVM (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the samples (default 0)")
    options = parser.parse_args(argv)
    if importlib.util.find_spec("dask_ml") is None:
        sys.exit(
            "svc_dask_ml.py needs Dask-ML, which is not installed: pip install 'wukong[dask-ml]'"
        )
    task = build(options.samples, options.chunk, options.features, options.penalty, options.seed)
    (right,) = dask.compute(task)
    print(f"svc_dask_ml samples={options.samples} right={right}")


if __name__ == "__main__":
    main()
