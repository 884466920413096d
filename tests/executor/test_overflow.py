"""Overflow bundles in an Executor: unpacked when they are imported, whole, or refused."""

from __future__ import annotations

import errno
import importlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from executor import fetching, unpacking
from executor.fetching import ATTEMPTS, Folder, Reader, source_of
from executor.overflow import Overflow
from executor.unpacking import private, unpack
from tests.executor.overflow import faulty_store, forget_tiny, tiny_bundle
from wukong.platform.overflow import BundleError, OverflowBundle, bundles_in, storage_mb


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundle")


@pytest.fixture(scope="module")
def tiny(place: Path) -> OverflowBundle:
    return tiny_bundle(place)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "unpacked"


@pytest.fixture
def overflow(
    tiny: OverflowBundle, place: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Overflow]:
    found = Overflow([tiny], f"file:{place}", base)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "meta_path", [found, *sys.meta_path])
    yield found
    forget_tiny()


def reader(tiny: OverflowBundle, place: Path) -> Reader:
    return Reader(tiny, Folder(place), lambda _: None)


def copied(tiny: OverflowBundle, place: Path, to: Path) -> Path:
    for part in tiny.parts:
        (to / part.key).parent.mkdir(parents=True, exist_ok=True)
        (to / part.key).write_bytes((place / part.key).read_bytes())
    return to / tiny.parts[0].key


def test_what_is_imported_from_a_bundle_is_unpacked_first(overflow: Overflow, base: Path) -> None:
    tinypack = importlib.import_module("tinypack")
    assert tinypack.answer() == 42
    assert Path(tinypack.__file__ or "").is_relative_to(base)
    assert importlib.metadata.version("tinypack") == "1.5"
    seconds, size = overflow.take_cost()
    assert seconds > 0
    assert size == sum(one.size for one in [tiny_of(overflow)])
    assert overflow.take_cost() == (0.0, 0)


def tiny_of(overflow: Overflow) -> OverflowBundle:
    return overflow._bundles["tinypack"]


def test_a_module_of_a_bundle_may_be_imported_lazily(overflow: Overflow) -> None:
    spec = importlib.util.find_spec("tinysingle")
    assert spec is not None
    assert spec.loader is not None
    loader = spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    assert "tinysingle" in module.WHERE


def test_who_imports_nothing_of_a_bundle_does_not_wait_for_it(
    overflow: Overflow, base: Path
) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("a_module_that_nobody_has")
    importlib.import_module("this")
    assert not base.exists()


def test_a_bundle_is_behind_code_and_layers_and_before_what_python_has(
    overflow: Overflow, tmp_path: Path
) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "tinysingle.py").write_text("WHERE = 'the layer'\n")
    sys.path.insert(0, str(layer))
    assert importlib.import_module("tinysingle").WHERE == "the layer"
    importlib.import_module("tinypack")
    inside = next(i for i, one in enumerate(sys.path) if "unpacked" in one)
    assert sys.path.index(str(layer)) < inside < sys.path.index(sysconfig.get_paths()["purelib"])


def test_what_dask_only_tries_is_no_reason_to_unpack_a_bundle(
    tiny: OverflowBundle, place: Path, base: Path
) -> None:
    wide = replace(tiny, modules=tiny.modules | {"psutil"})
    found = Overflow([wide], f"file:{place}", base)
    code = compile("spec = finder.find_spec('psutil')", "system.py", "exec")
    by_dask = {"__name__": "dask.system", "finder": found}
    by_other = {"__name__": "dask_ml.utils", "finder": found}
    with pytest.raises(ModuleNotFoundError, match="psutil is in a bundle that nobody needs yet"):
        exec(code, by_dask)
    exec(code, by_other)
    assert by_other["spec"] is not None


PROCESS = """
import sys
from pathlib import Path
from executor.fetching import Reader, source_of
from executor.unpacking import private, unpack
from wukong.platform.overflow import bundles_in
place, base = sys.argv[1:]
(bundle,) = bundles_in(Path(place, "wukong.json").read_bytes(), "here")
sys.stdin.read()
folder, is_new = unpack(bundle, lambda: Reader(bundle, source_of(place)), private(Path(base)))
print(is_new, (folder / "tinysingle.py").is_file())
"""


def test_processes_that_need_it_at_once_unpack_it_once(
    tiny: OverflowBundle, place: Path, base: Path
) -> None:
    import json

    (place / "wukong.json").write_text(json.dumps({"bundles": [tiny.to_manifest()]}))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(place), str(base)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    outputs = [process.communicate(timeout=60)[0].split() for process in processes]
    assert sorted(outputs) == [["False", "True"]] * 3 + [["True", "True"]]


def test_a_damaged_part_is_refused_and_nothing_of_it_is_used(
    tiny: OverflowBundle, place: Path, base: Path, tmp_path: Path
) -> None:
    file = copied(tiny, place, tmp_path)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleError, match=r"bundle tiny: .* is damaged or another file") as caught:
        unpack(tiny, lambda: reader(tiny, tmp_path), private(base))
    assert tiny.parts[0].digest in caught.value.message
    assert "wukong deploy" in caught.value.hint
    assert [one.suffix for one in base.iterdir()] == [".lock"]


def test_an_import_that_a_library_only_tries_fails_too_if_its_bundle_is_damaged(
    tiny: OverflowBundle, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = Overflow([tiny], f"file:{tmp_path}", base)
    monkeypatch.setattr(sys, "meta_path", [absent, *sys.meta_path])
    with pytest.raises(BundleError, match="is not there") as caught:
        importlib.import_module("tinypack")
    assert not isinstance(caught.value, ImportError)


def test_a_missing_part_is_named_with_what_to_do(
    tiny: OverflowBundle, base: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="bundle tiny: .* is not there") as caught:
        unpack(tiny, lambda: reader(tiny, tmp_path), private(base))
    assert tiny.parts[0].key in caught.value.message
    assert "Upload it" in caught.value.hint


def test_after_a_failure_the_next_import_tries_again(
    tiny: OverflowBundle,
    place: Path,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = Overflow([tiny], f"file:{tmp_path / 'later'}", base)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "meta_path", [found, *sys.meta_path])
    with pytest.raises(BundleError):
        importlib.import_module("tinypack")
    copied(tiny, place, tmp_path / "later")
    assert importlib.import_module("tinypack").answer() == 42
    forget_tiny()


def test_a_disk_without_room_is_told_before_anything_is_read(
    tiny: OverflowBundle, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = unpacking.shutil.disk_usage(tmp_path)._replace(free=3 << 20)
    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda _: free)
    large = replace(tiny, unpacked=700 << 20)
    with pytest.raises(BundleError, match="needs 700 MB of /tmp, and 3 MB are free") as caught:
        unpack(large, lambda: pytest.fail("it was read"), private(base))
    assert "ephemeral storage" in caught.value.hint


def test_a_disk_that_is_full_meanwhile_is_told_and_left_clean(
    tiny: OverflowBundle, place: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(data: bytes, folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(unpacking, "_extract", full)
    with pytest.raises(BundleError, match="of /tmp"):
        unpack(tiny, lambda: reader(tiny, place), private(base))
    assert [one.suffix for one in base.iterdir()] == [".lock"]


def test_what_a_process_left_that_was_killed_is_removed(
    tiny: OverflowBundle, place: Path, base: Path
) -> None:
    left = private(base) / f"{tiny.digest}.abc"
    left.mkdir()
    (left / "half").write_text("half")
    folder, is_new = unpack(tiny, lambda: reader(tiny, place), base)
    assert is_new
    assert not left.exists()
    assert (folder / "tinypack" / "data.txt").read_text() == "data beside the code\n"


@pytest.mark.parametrize("changes", [{"python": "3.99"}, {"architecture": "sparc"}])
def test_a_bundle_for_another_python_or_processor_is_refused(
    tiny: OverflowBundle, place: Path, base: Path, changes: dict[str, str]
) -> None:
    other = replace(tiny, **changes)
    told = f"built for Python {other.python} on {other.architecture}, and this is {tiny.python}"
    with pytest.raises(BundleError, match=re.escape(told)) as caught:
        Overflow([other], f"file:{place}", base).need(other)
    assert "wukong package --runtime python3" in caught.value.hint


def test_a_folder_that_others_may_write_to_is_not_imported_from(base: Path) -> None:
    base.mkdir()
    base.chmod(0o777)
    with pytest.raises(BundleError, match="not a folder of this user alone"):
        private(base)


def test_no_name_in_a_part_leaves_the_folder(
    tiny: OverflowBundle, base: Path, tmp_path: Path
) -> None:
    file = tmp_path / tiny.parts[0].key
    file.parent.mkdir()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../escaped.py", "")
        archive.writestr("/absolute.py", "")
    from hashlib import sha256

    data = file.read_bytes()
    part = replace(tiny.parts[0], digest=sha256(data).hexdigest(), size=len(data))
    bad = replace(tiny, parts=(part,))
    folder, _ = unpack(bad, lambda: reader(bad, tmp_path), private(base))
    assert {one.name for one in folder.iterdir()} == {"escaped.py", "absolute.py"}


@pytest.fixture
def s3(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with faulty_store(place) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "one")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        yield store


def from_s3(tiny: OverflowBundle) -> Reader:
    return Reader(tiny, source_of("s3://bucket"), lambda _: None)


def test_a_download_that_was_cut_off_is_read_on_from_there(
    tiny: OverflowBundle, base: Path, s3: Any
) -> None:
    s3.faults[:] = ["cut", "cut"]
    folder, _ = unpack(tiny, lambda: from_s3(tiny), private(base))
    assert (folder / "tinypack" / "deep.py").is_file()
    size = tiny.parts[0].size
    # What came of the first answer was not asked for again.
    assert s3.ranges == [(0, size), (size // 2, size), (size // 2 + (size - size // 2) // 2, size)]


def test_a_part_is_read_in_ranges_side_by_side(
    tiny: OverflowBundle, base: Path, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "RANGE_BYTES", 200)
    folder, _ = unpack(tiny, lambda: from_s3(tiny), private(base))
    assert (folder / "tinypack" / "deep.py").is_file()
    size = tiny.parts[0].size
    expected = [(begin, min(begin + 200, size)) for begin in range(0, size, 200)]
    assert len(expected) > 2
    assert sorted(s3.ranges) == expected


def test_a_download_that_is_always_cut_off_ends(tiny: OverflowBundle, base: Path, s3: Any) -> None:
    s3.faults[:] = ["cut"] * 50
    with pytest.raises(BundleError, match=f"did not come in {ATTEMPTS} attempts"):
        unpack(tiny, lambda: from_s3(tiny), private(base))


def test_a_bucket_that_may_not_be_read_is_told_with_the_permission(
    tiny: OverflowBundle, base: Path, s3: Any
) -> None:
    s3.faults[:] = ["403"]
    with pytest.raises(BundleError, match=r"s3://bucket/bundles/.* may not be read") as caught:
        unpack(tiny, lambda: from_s3(tiny), private(base))
    assert "s3:GetObject on bundles/*" in caught.value.hint


def test_a_store_that_is_busy_is_asked_again(tiny: OverflowBundle, base: Path, s3: Any) -> None:
    s3.faults[:] = ["500"]
    folder, _ = unpack(tiny, lambda: from_s3(tiny), private(base))
    assert folder.is_dir()


def test_an_object_that_is_not_in_the_bucket_is_named(
    tiny: OverflowBundle, base: Path, s3: Any
) -> None:
    lost = replace(tiny, parts=(replace(tiny.parts[0], key="bundles/lost.zip"),))
    with pytest.raises(BundleError, match=r"s3://bucket/bundles/lost\.zip is not there"):
        unpack(lost, lambda: from_s3(lost), private(base))


@pytest.mark.parametrize(
    "manifest",
    [b"no json", b'{"bundles": [{"name": 1}]}', b'{"bundles": 3}', b"[]", b'{"bundles": ["x"]}'],
)
def test_a_manifest_that_is_none_is_an_error_that_says_so(manifest: bytes) -> None:
    with pytest.raises(BundleError, match=r"the bundles in code/wukong\.json cannot be read"):
        bundles_in(manifest, "code/wukong.json")


def test_a_manifest_gives_back_what_was_written(tiny: OverflowBundle) -> None:
    import json

    written = json.dumps({"bundles": [tiny.to_manifest()]}).encode()
    assert bundles_in(written, "here") == (tiny,)
    assert storage_mb([tiny]) == 257
    assert storage_mb([]) == 0


def test_a_part_that_has_changed_gets_another_name(place: Path, tmp_path: Path) -> None:
    same = tiny_bundle(tmp_path / "same")
    assert same.parts == tiny_bundle(tmp_path / "again").parts
    assert os.path.getsize(tmp_path / "same" / same.parts[0].key) == same.parts[0].size
