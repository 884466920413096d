"""The embedded AWS: MiniStack with IAM enforced, and the embedded Valkey, in their own folder.

It deploys the real template and runs the real zips in processes of their own, with the credentials
of their roles. It is for trying, developing and proving deployments, not for speed: it starts one
process for each concurrent invocation, of this machine's Python. A function with layers sees only
what it would see on Lambda; one without sees what is installed here (`confine`).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from wukong.errors import WukongError
from wukong.stack import confine
from wukong.stack.valkey import EmbeddedValkey

REGION = "us-east-1"
ACCOUNT = "000000000000"
STACK = "wukong-app"
START_SECONDS = 60.0
STOP_SECONDS = 10.0
MAX_EXECUTORS = 4
"""More concurrent processes than this only make one machine slower."""


class EmbeddedAwsError(WukongError):
    """The embedded AWS did not start."""


class EmbeddedAws:
    """MiniStack and Valkey; a context manager, or `start` and `stop`."""

    def __init__(self) -> None:
        self._valkey = EmbeddedValkey()
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def endpoint_url(self) -> str:
        """Where the embedded AWS answers."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def store_url(self) -> str:
        """The store URL for client and functions."""
        return self._valkey.url

    @property
    def log(self) -> Path:
        """MiniStack's log, which has the functions' output too."""
        if self._folder is None:
            raise EmbeddedAwsError("the embedded AWS is not running", "Start it first.")
        return self._folder / "ministack.log"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which boto3 and Wukong use the embedded AWS as if it were the real one."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "embedded",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "WUKONG_PLATFORM": "aws",
            "WUKONG_STORE_URL": self.store_url,
            "WUKONG_AWS_LAMBDA_RETRIEVE_FUNCTION_NAMES_FROM_CLOUDFORMATION": "true",
            "WUKONG_AWS_LAMBDA_AWS_SAM_APP_NAME": STACK,
            "WUKONG_AWS_LAMBDA_INVOKER_THRESHOLD": "1",
            "WUKONG_RUN_MAX_EXECUTORS": str(MAX_EXECUTORS),
        }

    def start(self) -> Self:
        """Start both servers and wait until they answer; raises `EmbeddedAwsError`."""
        _require_ministack()
        with ExitStack() as undo:
            # Ctrl-C too: no server may outlive who started it.
            undo.callback(self.stop)
            self._start()
            undo.pop_all()
        return self

    def _start(self) -> None:
        self._valkey.start()
        self._folder = Path(tempfile.mkdtemp(prefix="wukong-aws-"))
        self._port = _free_port()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ministack"],
                env=self._server_environment(self._folder),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C in the terminal is for us, and we end it in order.
                start_new_session=True,
            )
        self._wait(self._process)

    def stop(self) -> None:
        """Stop both servers and delete all that they held; no error if they have stopped."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
            _end_group(self._process)
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self._valkey.stop()

    def _server_environment(self, folder: Path) -> Mapping[str, str]:
        """Give MiniStack's environment; its functions inherit it, so it holds nothing else."""
        temporary = folder / "tmp"
        temporary.mkdir()
        return {
            # For the functions; the server itself has no layers.
            "PYTHONPATH": str(_site(folder)),
            "PATH": os.environ.get("PATH", ""),
            "GATEWAY_PORT": str(self._port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AUTH": "true",
            "LAMBDA_EXECUTOR": "local",
            "TMPDIR": str(temporary),
            "S3_DATA_DIR": str(folder / "s3"),
            "STATE_DIR": str(folder / "state"),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.endpoint_url}/_ministack/health", timeout=5):  # noqa: S310 - our own server
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.05)
        raise EmbeddedAwsError(
            f"MiniStack did not start: {self.log.read_text(errors='replace')[-2000:]}",
            "Is `ministack` installed as the extra `embedded` pins it?",
        )

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def is_in_use(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether AWS calls of this process go to an embedded AWS: one without TLS."""
    return environment.get("AWS_ENDPOINT_URL", "").startswith("http://")


def _site(folder: Path) -> Path:
    """Make the folder from which processes of functions with layers are confined to these."""
    site = folder / "site"
    (site / "runtime").mkdir(parents=True)
    shutil.copyfile(confine.__file__, site / "sitecustomize.py")
    for name in confine.RUNTIME:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            file = Path(spec.origin)
            installed = file.parent if spec.submodule_search_locations else file
            (site / "runtime" / installed.name).symlink_to(installed)
    return site


def _require_ministack() -> None:
    for module in ("ministack", "samtranslator"):
        if find_spec(module) is None:
            raise EmbeddedAwsError(
                f"the embedded AWS needs the package {module!r}, which is not installed",
                "Install it: pip install 'wukong[embedded]'.",
            )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_group(leader: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a process group, and wait until it has gone.

    MiniStack ends the processes of its functions, but does not wait for each of them.
    """
    until = time.monotonic() + STOP_SECONDS
    with suppress(ProcessLookupError):
        while time.monotonic() < until:
            os.killpg(leader.pid, signal.SIGKILL)
            leader.poll()
            time.sleep(0.01)
