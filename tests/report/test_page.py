"""The page of a run in a real browser: whole, readable, and without errors, small and large."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

import wukong
from tests.report.browser import browser
from tests.report.records import tree
from wukong import report
from wukong.cost import Cost, CostLine

MOST_BYTES = 5_000_000
COST = Cost((CostLine("Executor", 1234.5, "GB-seconds", 0.0206),), "2026-11-01")

EMPTY = """
return Array.from(document.querySelectorAll('canvas')).filter(canvas => {
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  return !data.some(x => x);
}).map(canvas => canvas.id)"""
PICTURE = "return document.getElementById('timeline').toDataURL()"
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module", params=[50, 50_000], ids=["100", "100,000"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "run.html"
    return report.write(tree(request.param), file, COST)


def show(chrome: Chrome, page: Path, width: int = 1280) -> None:
    chrome.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    chrome.get(page.as_uri())
    ready = "return document.getElementById('main').getAttribute('aria-busy') === 'false'"
    WebDriverWait(chrome, 60).until(lambda _: chrome.execute_script(ready))
    # Drawn in the next frame.
    WebDriverWait(chrome, 60).until(lambda _: not chrome.execute_script(EMPTY))


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_shows_everything_without_errors(chrome: Chrome, page: Path, width: int) -> None:
    show(chrome, page, width)
    assert [entry["message"] for entry in chrome.get_log("browser")] == []
    for name in ("figures", "timeline", "parallel", "graph", "kinds", "slowest", "traffic", "cost"):
        shown = chrome.find_element(By.ID, name)
        assert shown.is_displayed(), name
        assert shown.size["width"] > 100, name
    assert chrome.execute_script(OVERFLOW) == 0
    assert "done" in chrome.find_element(By.ID, "outcome").text
    assert len(chrome.find_elements(By.CSS_SELECTOR, "#graph circle")) > 5
    assert len(chrome.find_elements(By.CSS_SELECTOR, "#edges tr")) > 2
    assert "2026-11-01" in chrome.find_element(By.ID, "cost-note").text


def test_the_page_is_one_file_of_less_than_five_megabytes(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES
    # A name of SVG's, which nothing fetches.
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_timeline_zooms_and_moves_by_keyboard_and_button(chrome: Chrome, page: Path) -> None:
    show(chrome, page)
    whole = chrome.execute_script(PICTURE)
    timeline = chrome.find_element(By.ID, "timeline")
    timeline.send_keys("+")
    WebDriverWait(chrome, 30).until(lambda _: chrome.execute_script(PICTURE) != whole)
    zoomed = chrome.execute_script(PICTURE)
    timeline.send_keys(Keys.ARROW_RIGHT)
    WebDriverWait(chrome, 30).until(lambda _: chrome.execute_script(PICTURE) != zoomed)
    chrome.find_element(By.ID, "all").click()
    WebDriverWait(chrome, 30).until(lambda _: chrome.execute_script(PICTURE) == whole)


def test_a_real_run_is_shown_and_explained(
    chrome: Chrome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dask.array as da

    monkeypatch.setenv("WUKONG_HOME", str(tmp_path))
    with wukong.Client(platform="threads", workers=2) as client:
        da.ones((400, 400), chunks=(100, 100)).sum().compute()
        page = client.report(tmp_path / "run.html")
        record = client.record()
        text = client.explain(record.summary.run)
    show(chrome, page)
    assert chrome.get_log("browser") == []
    shown = chrome.find_element(By.ID, "figures").text
    assert f"{record.summary.segments}" in shown
    assert f"{len(record.outline.inputs)} edges" in text
    assert f"{len(record.outline.inputs)} edges" in chrome.find_element(By.ID, "edges-note").text
    assert all(one.token[:6] in text for one in record.executors)


def test_keys_cannot_end_the_script_or_become_markup(chrome: Chrome, tmp_path: Path) -> None:
    from dataclasses import replace

    record = tree(4)
    evil = "</script><img src=x onerror=alert(1)>{{data}}"
    record = replace(
        record,
        summary=replace(record.summary, title=evil, error=evil, outcome="failed"),
        outline=replace(record.outline, names=(evil,), kinds=(evil,)),
    )
    show(chrome, report.write(record, tmp_path / "evil.html"))
    assert chrome.get_log("browser") == []
    assert chrome.find_elements(By.TAG_NAME, "img") == []
    assert "onerror" in chrome.find_element(By.ID, "slowest").text
