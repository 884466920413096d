"""The zips hold all that their handlers need: they run with nothing else but Lambda's runtime."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import boto3

from wukong.packaging import vendor
from wukong.packaging.archive import Archive
from wukong.packaging.target import Target

# What Lambda's Python runtime has beside the standard library: boto3 and what it needs.
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")


def isolated(zipped: Archive, folder: Path, code: str) -> str:
    """Run code in an interpreter that sees the zip and what Lambda's runtime has, nothing else."""
    task, runtime = folder / "task", folder / "runtime"
    zipfile.ZipFile(zipped.path).extractall(task)
    runtime.mkdir()
    for name in RUNTIME:
        (runtime / name).symlink_to(Path(boto3.__file__).parent.parent / name)
    path = f"import sys; sys.path[:0] = [{str(task)!r}]; sys.path.append({str(runtime)!r})\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", path + code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"AWS_DEFAULT_REGION": "us-east-1", "PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def imports(source: bytes) -> Iterator[ast.Import | ast.ImportFrom]:
    """Give the imports of a module, also those inside functions, but not those for types only."""
    todo: list[ast.AST] = [ast.parse(source)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        else:
            todo += ast.iter_child_nodes(node)


def named(inside: str, node: ast.Import | ast.ImportFrom) -> list[str]:
    """Give the modules that an import of a file may load, as paths in the zip."""
    if isinstance(node, ast.Import):
        modules = [alias.name.split(".") for alias in node.names]
    else:
        base = inside.split("/")[: -node.level] if node.level else []
        start = [*base, *(node.module.split(".") if node.module else [])]
        modules = [[*start, alias.name] for alias in node.names]
    return ["/".join(module) for module in modules]


def is_unused(inside: str) -> bool:
    return any(PurePosixPath(inside).is_relative_to(unused) for unused in vendor._UNUSED)


FOREIGN = """
task, runtime = sys.path[0], sys.path[-1]
homes = {m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)}
standard = sys.base_prefix
print([h for h in sorted(homes) if not h.startswith((task, runtime, standard))
       or 'site-packages' in h])
"""


def test_deployment_zip_holds_all_that_its_handlers_need(
    deployment: Archive, tmp_path: Path
) -> None:
    code = (
        "import executor.function, invoker.function, invoker.fanout, wukong.storage.valkey\n"
        "import wukong.platform.aws, cloudpickle\n"
        "for f in (executor.function, invoker.function):\n"
        "    print(f.lambda_handler({'wukong': 'ping'}, None)['component'])\n" + FOREIGN
    )
    assert isolated(deployment, tmp_path, code).split("\n")[:3] == ["executor", "invoker", "[]"]


IMPORT_ALL = """
import importlib, pathlib
task = pathlib.Path(sys.path[0])
for top in ("executor", "invoker", "wukong"):
    for file in sorted((task / top).rglob("*.py")):
        name = ".".join(file.relative_to(task).with_suffix("").parts).removesuffix(".__init__")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            print(error.name)
"""


def test_the_only_module_that_deployment_zip_leaves_to_a_layer_is_dask(
    deployment: Archive, tmp_path: Path
) -> None:
    assert set(isolated(deployment, tmp_path, IMPORT_ALL).split()) == {"dask"}


def test_bootstrap_zip_holds_all_that_its_handler_needs(bootstrap: Archive, tmp_path: Path) -> None:
    code = "import bootstrap.function; print(bootstrap.function.lambda_handler.__name__)" + FOREIGN
    assert isolated(bootstrap, tmp_path, code).split("\n")[:2] == ["lambda_handler", "[]"]


def test_every_import_in_the_bootstrap_finds_its_module(bootstrap: Archive, tmp_path: Path) -> None:
    with zipfile.ZipFile(bootstrap.path) as archive:
        ours = [
            archive.read(name)
            for name in archive.namelist()
            if name.startswith("bootstrap/") and name.endswith(".py")
        ]
    statements = {ast.unparse(node) for source in ours for node in imports(source)}
    statements.discard("from __future__ import annotations")
    assert "import requests" in statements
    assert isolated(bootstrap, tmp_path, "\n".join(sorted(statements))) == ""


def test_nothing_in_the_zips_imports_what_is_left_out_but_in_two_places_that_are_not_reached() -> (
    None
):
    files = vendor.vendor((*vendor.BOOTSTRAP, *vendor.DEPLOYMENT), Target.this_machine())
    assert not [unused for unused in vendor._UNUSED if "." in unused], "only whole packages"
    assert not [inside for inside in files if is_unused(inside)]
    importers = {
        inside
        for inside, file in files.items()
        if inside.endswith(".py")
        for node in imports(file.read_bytes())
        if any(map(is_unused, named(inside, node)))
    }
    assert importers == {
        # Of an event that is a pydantic model: ours are JSON.
        "aws_lambda_powertools/shared/functions.py",
        # To warn of a class that was written for pydantic 1.
        "pydantic/_internal/_generate_schema.py",
    }


ANSWER = """
import os, types
nowhere = "http://127.0.0.1:1"
os.environ |= {
    "AWS_ENDPOINT_URL": nowhere, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s",
    "WUKONG_PACKAGE_BUCKET": "bucket", "WUKONG_PACKAGE_KEY": "deployment.zip",
    "WUKONG_EXECUTOR_ROLE": "arn:aws:iam::000000000000:role/one",
    "WUKONG_INVOKER_ROLE": "arn:aws:iam::000000000000:role/two",
}
context = types.SimpleNamespace(
    aws_request_id="r", function_name="f", memory_limit_in_mb=256, invoked_function_arn="a",
    get_remaining_time_in_millis=lambda: 60_000)
import bootstrap.function
answer = bootstrap.function.lambda_handler({"action": "deploy"}, context)
print(answer["error"]["code"])
import requests
try:
    requests.put(nowhere)
except requests.ConnectionError as error:
    import traceback
    print(traceback.format_exc())
"""


def test_the_bootstrap_answers_from_its_zip_alone(bootstrap: Archive, tmp_path: Path) -> None:
    printed = isolated(bootstrap, tmp_path, ANSWER)
    assert "\nAWS_UNREACHABLE\n" in printed
    assert '"location":"lambda_handler:' in printed, "the log names our lines"
    assert 'File "requests/adapters.py", line ' in printed, "a traceback names others' lines"
