"""The doctor for this machine: Python, memory, disk, Valkey, and worker processes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

from wukong import history
from wukong.client import Client
from wukong.compatibility import differences
from wukong.config import Config
from wukong.doctor.finding import Check, Finding, failed, ok, version_findings, warning
from wukong.doctor.trial import trial
from wukong.errors import WukongError
from wukong.platform.probe import environment_here
from wukong.stack.valkey import EmbeddedValkey
from wukong.storage import open_storage

WORKER_BYTES = 1 << 30
"""With less memory for each worker, chunks of a usual size do not fit."""

DISK_BYTES = 1 << 30


def examine_here(config: Config) -> Iterator[Finding]:
    """Look at everything that a run on this machine needs."""
    workers = config.local.workers or os.cpu_count() or 1
    yield from machine(workers)
    is_reached = yield from store(config)
    if is_reached:
        yield from executors(config)
        yield from trial(config, "Look at what the workers print, or use fewer of them.")


def machine(workers: int) -> Check[None]:
    """See memory and disk."""
    here = environment_here()
    each = here.memory_bytes / workers
    message = f"{here.memory_bytes / 1e9:.1f} GB for {workers} workers"
    remedy = "Use fewer workers (local.workers) or smaller chunks."
    yield ok("memory", message) if each >= WORKER_BYTES else warning("memory", message, remedy)
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    message = f"{free / 1e9:.1f} GB are free in {folder}"
    yield (
        ok("disk", message)
        if free >= DISK_BYTES
        else warning("disk", message, "Free some, or name another folder in TMPDIR.")
    )
    where = history.folder()
    place = next(one for one in (where, *where.parents) if one.exists())
    if place.is_dir() and os.access(place, os.W_OK):
        yield ok("history", f"runs are kept in {where}")
    else:
        remedy = "Name another folder in WUKONG_HOME; without it there are no reports of runs."
        yield warning("history", f"{where} cannot be written", remedy)


def store(config: Config) -> Check[bool]:
    """See that the store answers: the one that is configured, or an embedded one."""
    try:
        if config.store.url:
            storage = open_storage(config.store.url, config.store.signing_key)
            storage.ping()
            storage.close()
            yield ok("store", "the one that is configured answers")
        else:
            with EmbeddedValkey():
                yield ok("store", "an embedded Valkey starts")
    except WukongError as error:
        yield failed("store", error)
        return False
    return True


def executors(config: Config) -> Check[None]:
    """Have a worker process tell what it runs on."""
    client = Client(config, platform="local", workers=1, record=False)
    try:
        there = client.submit(environment_here).result()
    except WukongError as error:
        yield failed("workers", error)
        return
    finally:
        client.close()
    here = environment_here()
    names = ", ".join(f"{name} {version}" for name, version in sorted(there.versions.items()))
    alike = f"alike in workers: Python {here.python}, {names}"
    yield from version_findings("versions", differences(here, there), alike)
