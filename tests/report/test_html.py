"""The HTML page in a real browser: it opens from disk, sorts, filters, fetches nothing, and executes no name.

Needs Debian's `chromium` and `chromium-driver`; without them the browser's tests are skipped.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from fleettrace.errors import HostState
from fleettrace.report.build import build_report
from fleettrace.report.html import render_html
from fleettrace.report.json_format import to_json
from tests.report.contract import bare, large
from tests.report.examples import HOSTILE, add_host, count, failed, new_run, realistic
from tests.report.test_host_stats import SENTENCE, fleet

Browser = webdriver.Chrome

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1280,900"),
)
NASTY = (
    b"<script>window.hacked=1</script>",
    b"<img src=x onerror=window.hacked=1>",
    b"</script><script>window.hacked=1</script>",
    b"<!--<script>",
    b"javascript:window.hacked=1",
    b"{{script}}",
    b"' onmouseover='window.hacked=1",
    *HOSTILE,
)
NASTY_TEXT = "<b onclick=window.hacked=1>host</b></script><script>window.hacked=1</script>"


def needs(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed: apt-get install chromium chromium-driver")
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start one Chromium for this file, with its own profile and without network."""
    options = webdriver.ChromeOptions()
    options.binary_location = needs("chromium")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(needs("chromedriver")))
    try:
        driver.set_page_load_timeout(60)
        yield driver
    finally:
        driver.quit()


def logged(browser: Browser, kind: str) -> list[dict[str, Any]]:
    """Return the new entries of the log of this kind."""
    entries: list[dict[str, Any]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return entries


def opened(browser: Browser, page: str, directory: Path) -> None:
    """Open the page from disk, without network, and drop earlier log entries."""
    file = directory / "report.html"
    file.write_text(page, encoding="utf-8")
    browser.get("about:blank")
    browser.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    logged(browser, "browser")
    logged(browser, "performance")
    browser.get(file.as_uri())


def requested(browser: Browser) -> list[str]:
    """Return the addresses that the browser requested since the page was opened."""
    messages = [json.loads(entry["message"])["message"] for entry in logged(browser, "performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def column(browser: Browser, table: str, place: int) -> list[str]:
    """Return the texts of one column (1-based) of the visible rows."""
    script = "return [...document.querySelectorAll(arguments[0])].map((cell) => cell.innerText)"
    texts: list[str] = browser.execute_script(script, f"#{table} tr.row > td:nth-child({place})")
    return texts


def click_head(browser: Browser, table: str, label: str) -> None:
    browser.find_element(By.XPATH, f"//section[@id='{table}']//th/button[text()='{label}']").click()


def search_for(browser: Browser, table: str, words: str) -> None:
    field = browser.find_element(By.CSS_SELECTOR, f"#{table} input[type=search]")
    field.clear()
    field.send_keys(words)
    time.sleep(0.3)  # The page waits 60 ms for the next letter.


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return to_json(build_report(realistic(), top=120))


@pytest.fixture
def page(browser: Browser, report: dict[str, Any], tmp_path: Path) -> Browser:
    opened(browser, render_html(report), tmp_path)
    return browser


def test_page_opens_from_disk_without_requests(page: Browser) -> None:
    assert page.execute_script("return document.documentElement.dataset.ready") == "yes"
    assert logged(page, "browser") == []
    assert [url for url in requested(page) if not url.startswith(("file:", "data:"))] == []


def test_page_begins_with_cause_and_missing(page: Browser) -> None:
    text = page.find_element(By.ID, "fleet").text
    assert re.search(r"cache-017 is at 2\.\d+ × the mean; without user:1:profile it would be at", text)
    assert "3 hosts: cache-003, cache-040, cache-041" in text
    order = page.execute_script("return [...document.querySelectorAll('main > section')].map((part) => part.id)")
    assert order == ["fleet", "hosts", "memcached", "keys", "templates", "heat", "problems"]


def test_page_shows_report_numbers(page: Browser, report: dict[str, Any]) -> None:
    shown = [text.split("\n")[0] for text in column(page, "keys", 2)]
    assert shown == [f"{key['requests']:,}" for key in report["keys"][:50]]
    assert column(page, "keys", 1) == [key["key"] for key in report["keys"][:50]]
    assert column(page, "templates", 1) == [row["template"] for row in report["templates"][:20]]


def test_click_on_header_sorts_and_reverses(page: Browser, report: dict[str, Any]) -> None:
    names = sorted(key["key"] for key in report["keys"])
    click_head(page, "keys", "Key")
    assert column(page, "keys", 1) == names[:50]
    click_head(page, "keys", "Key")
    assert column(page, "keys", 1) == names[::-1][:50]


def test_unknown_values_sort_last(page: Browser) -> None:
    for _ in range(2):
        click_head(page, "hosts", "Requests/s")
        assert column(page, "hosts", 1)[0] not in ("cache-003", "cache-040", "cache-041")


def test_search_and_filter_select_rows(page: Browser) -> None:
    search_for(page, "keys", "PROMO banner")
    assert column(page, "keys", 1) == ["promo:2026-09-21:banner"]
    search_for(page, "keys", "no such key")
    assert column(page, "keys", 1) == []
    assert "Nothing matches." in page.find_element(By.ID, "keys").text
    page.find_element(By.XPATH, "//section[@id='hosts']//option[text()='Not ok']").click()
    assert sorted(column(page, "hosts", 1)) == ["cache-003", "cache-040", "cache-041"]


def test_next_page_continues_rows(page: Browser, report: dict[str, Any]) -> None:
    page.find_element(By.XPATH, "//section[@id='keys']//button[text()='Next ›']").click()
    assert column(page, "keys", 1) == [key["key"] for key in report["keys"][50:100]]


def test_row_toggles_details(page: Browser) -> None:
    search_for(page, "keys", "user:1:profile")
    row = page.find_element(By.CSS_SELECTOR, "#keys tr.row")
    row.click()
    detail = page.find_element(By.CSS_SELECTOR, "#keys tr.detail").text
    assert "get 47,520, set 480" in detail
    assert "cache-017" in detail
    row.click()
    assert page.find_elements(By.CSS_SELECTOR, "#keys tr.detail") == []


def test_late_and_bursting_keys_are_marked(page: Browser) -> None:
    assert "late, from 7 s" in page.find_element(By.ID, "keys").text
    assert "burst, from 4 s" in page.find_element(By.ID, "keys").text


def test_equal_errors_are_folded(page: Browser) -> None:
    lines = page.find_element(By.ID, "problems").text.splitlines()
    assert any("cache-040, cache-041: no route to" in line for line in lines)


def test_heat_map_cell_shows_requests(page: Browser) -> None:
    page.execute_script("document.querySelector('#heat').scrollIntoView()")
    script = """
        const canvas = document.querySelector('#heat canvas'), box = canvas.getBoundingClientRect();
        const at = {clientX: box.left + 2, clientY: box.top + 27, bubbles: true};
        canvas.dispatchEvent(new PointerEvent('pointermove', at));
        return document.getElementById('readout').innerText;
    """
    assert re.fullmatch(
        r"cache-017 · user:1:profile · 48,000 requests, 5\d\.\d % of the host", page.execute_script(script)
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_sufficient_light_and_dark(page: Browser, scheme: str) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    try:
        ratios = page.execute_script(CONTRAST)
        assert min(ratios.values()) >= 4.5, ratios
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


CONTRAST = """
    const light = (color) => {
      const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((part) => {
        const c = part / 255;
        return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const paper = light(getComputedStyle(document.querySelector('#hosts')).backgroundColor);
    const ratios = {};
    for (const look of ['td .name', 'th button', '.muted', '.tile.hot b', '.tile.warm b', 'a']) {
      const ink = light(getComputedStyle(document.querySelector(look)).color);
      ratios[look] = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    }
    return ratios;
"""


def test_phone_needs_no_horizontal_scrolling(page: Browser) -> None:
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        page.refresh()
        assert page.execute_script("return document.documentElement.scrollWidth") <= 390
        overflow = "const box = document.querySelector(arguments[0]); return box.scrollWidth - box.clientWidth"
        assert [page.execute_script(overflow, f"#{table} .scroll") for table in ("hosts", "keys", "templates")] == [
            0
        ] * 3
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_page_prints(page: Browser) -> None:
    pdf = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert pdf.startswith(b"%PDF")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 20


def test_hostile_names_are_inert_text(browser: Browser, tmp_path: Path) -> None:
    run = new_run(NASTY_TEXT)
    add_host(run, NASTY_TEXT, {key: count([9] * 10) for key in NASTY})
    failed(run, NASTY_TEXT + "2", HostState.UNREACHABLE, "connect", NASTY_TEXT + "\x1b[31m\u202e")
    report = to_json(build_report(run, top=len(NASTY)))
    opened(browser, render_html(report), tmp_path)
    for row in browser.find_elements(By.CSS_SELECTOR, "tr.row"):
        browser.execute_script("arguments[0].click()", row)
    assert (
        browser.execute_script(
            "return window.hacked === undefined && document.querySelectorAll('b[onclick], img').length"
        )
        == 0
    )
    assert browser.execute_script("return document.scripts.length") == 2
    assert logged(browser, "browser") == []
    text = browser.execute_script("return document.body.innerText")
    assert "</script><script>window.hacked=1</script>" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\ufeff]", text)
    shown = browser.execute_script(
        "return [...document.querySelectorAll('#keys tr.row .name')].map((cell) => cell.textContent)"
    )
    assert set(shown) == {key["key"] for key in report["keys"]}


def test_large_report_opens_in_two_seconds(browser: Browser, tmp_path: Path) -> None:
    page = render_html(large())
    assert len(page.encode()) < 5_000_000
    opened(browser, page, tmp_path)  # The browser has started and loaded its own parts before the measurement.
    took = []
    for _ in range(3):
        browser.refresh()
        took.append(
            browser.execute_script("return performance.timing.domComplete - performance.timing.navigationStart") / 1000
        )
    assert min(took) < 2, took
    began = time.monotonic()
    search_for(browser, "keys", "profile:9999")
    assert len(column(browser, "keys", 1)) == 1
    assert time.monotonic() - began < 3


def test_page_needs_only_required_fields(browser: Browser, tmp_path: Path) -> None:
    opened(browser, render_html(bare()), tmp_path)
    browser.find_element(By.CSS_SELECTOR, "#hosts tr.row").click()
    assert logged(browser, "browser") == []
    assert browser.execute_script("return document.documentElement.dataset.ready") == "yes"


def test_page_shows_what_a_host_evicts(browser: Browser, tmp_path: Path) -> None:
    opened(browser, render_html(to_json(build_report(fleet()))), tmp_path)
    row = browser.find_element(By.CSS_SELECTOR, "#memcached tr.row")
    assert row.text.startswith("cache-004 90.0 % 1,200")
    browser.execute_script("arguments[0].click()", row)
    assert SENTENCE in browser.find_element(By.CSS_SELECTOR, "#memcached tr.detail").text
    unknown = browser.find_elements(By.CSS_SELECTOR, "#memcached tr.row")[1]
    assert unknown.text.endswith("– – –")


def test_page_has_no_address_or_handler(report: dict[str, Any]) -> None:
    tags: list[list[tuple[str, str | None]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda _, attributes: tags.append(attributes)  # type: ignore[assignment, method-assign]
    parser.feed(render_html(report))
    found = [(name, value or "") for attributes in tags for name, value in attributes]
    assert all(value.startswith("#") or value == "data:," for name, value in found if name in ("src", "href", "action"))
    assert not [name for name, _ in found if name.startswith("on") or name == "style"]


def test_page_is_deterministic(report: dict[str, Any]) -> None:
    assert render_html(report) == render_html(json.loads(json.dumps(report)))
