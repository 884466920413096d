"""The documents hold together: the site builds, links lead somewhere, nothing is out of date."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.docs.diagrams import digest_of
from tests.docs.reference import PAGE, reference

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").glob("*.md")])
LONG = {"cli.md": "written from the app", "reference.md": "written from docstrings"}
"""Lists to look things up in, and why they may be as long as they are."""
STEPS = {"manual-setup.md": 400, "deploying.md": 350}
FENCE = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")
ELSEWHERE = ("http://", "https://", "mailto:")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it, in a folder of its own."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--clean", "--strict"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_the_site_builds_without_a_warning_and_has_every_page(site: Path) -> None:
    expected = {page.relative_to(DOCS).with_suffix(".html") for page in DOCS.rglob("*.md")}
    built = {page.relative_to(site) for page in site.rglob("*.html")}
    assert built - {Path("404.html")} == expected


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M)
    assert sorted(named) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_the_site_loads_nothing_from_other_hosts(site: Path) -> None:
    loads = re.compile(
        r'<(?:script|img|iframe)[^>]*\bsrc="?(?:https?:)?//'
        r'|<link[^>]*rel="?stylesheet"?[^>]*href="?(?:https?:)?//'
    )
    pages = [page.read_text(encoding="utf-8") for page in site.rglob("*.html")]
    assert [found[0] for text in pages if (found := loads.search(text))] == []
    # The theme would fetch Mermaid's script from a CDN.
    assert not any('class="mermaid"' in text for text in pages)


def links(page: Path) -> Iterator[str]:
    for pair in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        link = pair[0] or pair[1]
        if not link.startswith(ELSEWHERE):
            yield link


def anchors(page: Path) -> set[str]:
    """Give the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.M)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{link}: no such file"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_is_too_long_to_be_read(page: Path) -> None:
    length = len(page.read_text(encoding="utf-8").splitlines())
    assert page.name in LONG or length <= STEPS.get(page.name, 300)


def test_the_reference_is_what_the_docstrings_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run `make reference`"


@pytest.mark.parametrize("source", sorted(DOCS.rglob("*.mmd")), ids=lambda source: source.stem)
def test_a_drawing_is_of_its_source(source: Path) -> None:
    drawing = source.with_suffix(".svg").read_text(encoding="utf-8")
    assert digest_of(source) in drawing, "run `make diagrams`"


def test_pictures_are_small() -> None:
    large = [file.name for file in DOCS.rglob("*.png") if file.stat().st_size > 200_000]
    assert large == []


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WUKONG_HOME", str(tmp_path / "home"))
    notebook = nbformat.read(ROOT / "examples" / "tutorial.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "it is kept without outputs"
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources=resources).execute()
    printed = str([cell.outputs for cell in notebook.cells if cell.cell_type == "code"])
    for expected in ("wukong.Client on local", "[0, 1, 4, 9, 16]", "division by zero", "failed"):
        assert expected in printed
    assert (tmp_path / "notebook.html").stat().st_size > 10_000
