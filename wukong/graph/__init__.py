"""Dask graphs to static schedules: the Static Scheduler, and what an Executor runs of it.

    normalise   what Dask hands a scheduler -> tasks, roots, and what stays in the client
    segments    tasks -> segments (chains and small trees), numbered in Dask's order
    spec        one segment <-> the bytes that an Executor runs
    shared      what these bytes have in common, stored once
    references  the modules that they need where they run

This package is the only one that knows Dask's private interfaces.
"""
