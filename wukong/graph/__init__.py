"""Dask graphs to static schedules: the Static Scheduler, and what an Executor runs of it.

    normalise   what Dask hands a scheduler -> tasks, roots, and what stays in the client
    segments    tasks -> segments (linear chains), numbered in Dask's order
    spec        one segment <-> the bytes that an Executor runs

This package is the only one that knows Dask's private interfaces.
"""
