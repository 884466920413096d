"""What a client is connected to, from its first computation until it is closed.

Store and platform are opened together, once; the embedded servers that they need live as long.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack

from wukong.config import Config, ConfigError
from wukong.errors import WukongError
from wukong.opening import located, open_platform
from wukong.platform.interface import Platform
from wukong.platform.stored import Hold, Holds
from wukong.platform.traced import traced
from wukong.stack.valkey import EmbeddedValkey
from wukong.storage import Storage, open_storage, store_kind


class ClientError(WukongError):
    """A client that cannot compute any more: it was closed, or belongs to another process."""


class Connection:
    """The store and the platform of one client.

    Parameters
    ----------
    config
        Names them.
    on_store
        Told the store's URL when it is known.

    Attributes
    ----------
    located
        The configuration, when they are open with what the stack knows.
    """

    def __init__(self, config: Config, on_store: Callable[[str], object]) -> None:
        self._config = self.located = config
        self._on_store = on_store
        self._resources = ExitStack()
        self._lock = threading.Lock()
        self._process: int | None = None
        self.is_closed = False
        self.storage: Storage | None = None
        self.platform: Platform | None = None
        self._holds: Holds | None = None

    @property
    def is_of_parent(self) -> bool:
        """Tell whether another process has opened it, from which this one was forked."""
        return self._process not in {None, os.getpid()}

    def check(self) -> None:
        """Raise `ClientError` if nothing can be computed any more."""
        if self.is_closed:
            raise ClientError("this client was closed", "Make another: wukong.Client(...).")
        if self.is_of_parent:
            raise ClientError(
                f"this client belongs to process {self._process}, from which this one was forked",
                "Make a client in each process, after it has begun; or have processes spawned: "
                'multiprocessing.set_start_method("spawn").',
            )

    def open(self) -> tuple[Storage, Platform]:
        """Give store and platform, opened if they are not open yet.

        Raises
        ------
        ClientError
            If this is closed, or of another process.
        ConfigError, StorageError, PlatformError
            If they cannot be opened; nothing is left open then.
        """
        # Before the lock too: a process that was forked may have it locked for ever.
        self.check()
        with self._lock:
            self.check()
            if self.storage is None or self.platform is None:
                with ExitStack() as opening:
                    self.storage, self.platform = self._opened(opening)
                    self._resources = opening.pop_all()
                self._process = os.getpid()
            return self.storage, self.platform

    def hold(self, run: str) -> Hold:
        """Keep the values of a run in the store until nothing refers to what this gives."""
        self.check()
        assert self._holds is not None  # noqa: S101 -- there is a run
        return self._holds.hold(run)

    def refuse(self) -> None:
        """Open nothing any more; what is being opened is waited for."""
        with self._lock:
            self.is_closed = True

    def close(self) -> None:
        """Drop what is held, close store and platform, and stop embedded servers."""
        self._resources.close()
        self.storage = self.platform = None

    def _opened(self, opening: ExitStack) -> tuple[Storage, Platform]:
        """Open all, and note in `opening` how it is closed."""
        config = self.located = located(self._config)
        url = config.store.url or self._embedded_store(opening)
        self._on_store(url)
        storage = traced(open_storage(url, config.store.signing_key))
        opening.callback(storage.close)
        self._holds = Holds(storage)
        opening.callback(self._holds.close)
        storage.ping()
        platform = open_platform(config, url, storage, self._queue_beside(url, opening))
        opening.callback(platform.close)
        return storage, platform

    def _queue_beside(self, url: str, opening: ExitStack) -> str | None:
        """Start a Valkey for the queue of worker processes, if the store is none."""
        if self._config.platform != "local" or store_kind(url) == "valkey":
            return None
        return opening.enter_context(EmbeddedValkey()).url

    def _embedded_store(self, opening: ExitStack) -> str:
        match self._config.platform:
            case "threads":
                return f"memory://{uuid.uuid4().hex}"
            case "local":
                return opening.enter_context(EmbeddedValkey()).url
        asked = self._config.aws_lambda.retrieve_function_names_from_cloudformation
        why = "the stack does not say where its store is" if asked else "there is no stack to ask"
        raise ConfigError(
            f"store.url is not set, and {why}: on aws, client and Executors meet in one store",
            "Name the stack (aws_lambda in docs/config.md), or set store.url in wukong-config.yaml "
            "(or WUKONG_STORE_URL) to the URL that the functions have.",
        )
