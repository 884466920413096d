"""SVC: support vector classifiers trained on parts of the data, which then vote.

A classifier's training time grows faster than its data, so one for each part, all in parallel, is
how to train on more than one machine's worth. Needs scikit-learn: pip install 'wukong[svc]'.

    python examples/svc.py --samples 16000 --chunk 2000
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

import dask
import numpy as np
from dask.delayed import Delayed

Part = tuple[np.ndarray, np.ndarray]
"""Points (samples x features) and their classes (samples), 0 or 1."""


def make_part(samples: int, features: int, seed: int, part: int) -> Part:
    """Draw points of two overlapping clouds: class 0 around -1/2, class 1 around +1/2."""
    rng = np.random.default_rng([seed, part])
    classes = rng.integers(0, 2, size=samples)
    points = rng.normal(size=(samples, features)) + (classes[:, None] - 0.5)
    return points, classes


def train(part: Part, penalty: float) -> Any:
    """Fit a classifier to one part; `penalty` is the C of a support vector machine."""
    from sklearn.svm import SVC

    points, classes = part
    return SVC(C=penalty).fit(points, classes)


def vote(models: Sequence[Any], part: Part) -> int:
    """Count the points of a part that most classifiers put into the right class."""
    points, classes = part
    ones = sum(model.predict(points) for model in models)
    return int(np.sum((2 * ones >= len(models)) == classes))


def build(
    samples: int, chunk: int, features: int = 10, penalty: float = 1.0, seed: int = 0
) -> Delayed:
    """Give how many of `chunk` unseen points the vote gets right.

    There is a classifier for every `chunk` of the `samples`.
    """
    if not 0 < chunk <= samples:
        raise ValueError(f"chunk: expected 1 to {samples} (the samples), got {chunk}")
    make, fit = dask.delayed(make_part), dask.delayed(train)
    parts = samples // chunk
    models = [fit(make(chunk, features, seed, part), penalty) for part in range(parts)]
    unseen = make(chunk, features, seed, parts)
    return dask.delayed(vote)(models, unseen)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the sizes, compute once and print how many unseen points were classified right."""
    parser = argparse.ArgumentParser(description="Train support vector classifiers that vote.")
    parser.add_argument("--samples", type=int, default=4_000, help="to train on (default 4000)")
    parser.add_argument("--chunk", type=int, default=500, help="for a classifier (default 500)")
    parser.add_argument("--features", type=int, default=10, help="of a sample (default 10)")
    parser.add_argument("--penalty", type=float, default=1.0, help="C of the SVM (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the samples (default 0)")
    options = parser.parse_args(argv)
    if importlib.util.find_spec("sklearn") is None:
        sys.exit("svc.py needs scikit-learn, which is not installed: pip install 'wukong[svc]'")
    task = build(options.samples, options.chunk, options.features, options.penalty, options.seed)
    (right,) = dask.compute(task)
    print(f"svc samples={options.samples} right={right}/{options.chunk}")


if __name__ == "__main__":
    main()
