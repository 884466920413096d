"""What layers are asked for: names, files, and what cannot be in a layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from wukong.packaging.requirements import RequirementsError, name_of, read, split, wanted

ARN = "arn:aws:lambda:eu-west-1:123456789012:layer:theirs:3"


def test_names_are_separated_by_commas_and_each_is_taken_once() -> None:
    assert split(["numpy, dask", "numpy,", "ml=r.txt"]) == ("numpy", "dask", "ml=r.txt")


def test_an_arn_is_attached_and_not_built() -> None:
    assert [one.name for one in wanted(["numpy", ARN])] == ["numpy"]
    assert [name_of(one) for one in ("ml=r.txt", "dask", ARN)] == ["ml", "dask", ARN]


def test_a_file_lists_requirements_with_comments_and_lines_that_go_on(tmp_path: Path) -> None:
    file = tmp_path / "r.txt"
    file.write_text(
        "# ours\nnumpy>=2  # arrays\n\npandas[performance] \\\n  >=2.2\nx; python_version < '3'\n"
    )
    assert [str(one) for one in wanted([f"ml={file}"])[0].requirements] == [
        "numpy>=2",
        "pandas[performance]>=2.2",
        'x; python_version < "3"',
    ]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("-e .", "an editable installation"),
        ("--editable=.", "an editable installation"),
        ("-r other.txt", "another file"),
        ("--index-url https://example.org", "the option --index-url"),
        ("git+https://example.org/x", "not in the package index"),
        ("x @ git+ssh://example.org/x", "not in the package index"),
        ("x @ file:///tmp/x", "not in the package index"),
        ("./here", "not in the package index"),
        ("x-1.0-py3-none-any.whl", "not in the package index"),
        ("numpy==2.0 --hash=sha256:00", "hashes of files"),
        ("numpy==2.0 \\\n    --hash=sha256:00", "hashes of files"),
        ("numpy=2.0", "numpy=2.0"),
    ],
)
def test_what_cannot_be_in_a_layer_is_named_with_its_line(
    tmp_path: Path, line: str, named: str
) -> None:
    file = tmp_path / "r.txt"
    file.write_text(f"dask\n{line}\n")
    with pytest.raises(RequirementsError, match=rf"r\.txt:2: .*{named}") as caught:
        read(file)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        ("nmpy", "there is no layer 'nmpy'; did you mean numpy"),
        ("sklearn", "there is no layer 'sklearn'; did you mean scikit-learn"),
        ("quite-another", "there is no layer 'quite-another'\n"),
        ("ml=none.txt", r"none\.txt: cannot be read"),
        ("m/l=r.txt", "layer 'm/l': a name has"),
        ("=r.txt", "layer '': a name has"),
    ],
)
def test_a_layer_that_is_not_there_is_named(reference: str, named: str) -> None:
    with pytest.raises(RequirementsError, match=named) as caught:
        wanted([reference])
    assert "NAME" in caught.value.hint or "=FILE" in caught.value.hint


def test_a_file_that_lists_nothing_and_a_name_that_comes_twice_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.txt"
    file.write_text("# nothing\n")
    with pytest.raises(RequirementsError, match="lists nothing"):
        wanted([f"ml={file}"])
    file.write_text("pandas\n")
    with pytest.raises(RequirementsError, match="'ml' is asked for twice"):
        wanted([f"ml={file}", f"ml={file}"])
