"""Wukong's local platform beside other engines, in one run: two workers each, one thread a worker.

Method: engines take turns in each round, after one round that warms them up and in which every
result is compared with that of Dask's threads; the median counts. What an engine moves through the
store is the difference of the server's own counters. Ratios and targets are printed last.

    pip install 'wukong[benchmarks,svc]'
    python benchmarks/engines.py [--rounds 3] [--only tree_1024 tsqr] [--peers threads distributed]
"""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # Two workers are two cores, in every engine; libraries read this when they are loaded.
    os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    sys.path.append(str(Path(__file__).parents[1] / "examples"))
    from side_by_side import main

    main()
