"""The browser that tests of pages share: what it shows, says and refuses."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.browser import Browser

ROOT = Path(__file__).resolve().parents[1]
PAGE = """<!doctype html><meta charset="utf-8"><title>A page</title>
<style>body { background: white } @media (prefers-color-scheme: dark) { body { background: black } }</style>
<p>Letters: ñ 字</p><p hidden>not to be seen</p><input>"""


def written(tmp_path: Path, extra: str = "") -> Path:
    page = tmp_path / "a page.html"
    page.write_text(PAGE + extra, encoding="utf-8")
    return page


def test_a_page_is_opened_read_and_typed_into(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path))
    assert [found.text for found in browser.all("p")] == ["Letters: ñ 字"]
    browser.one("input").click()
    browser.press("a", "b")
    assert browser.one("input").get_attribute("value") == "ab"
    assert browser.console() == []


def test_light_dark_and_narrow_as_asked(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path))
    corners = []
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        browser.resize(360, 500)
        shot = Image.open(browser.screenshot(tmp_path / f"{scheme}.png")).convert("RGB")
        assert shot.size == (360, 500)
        corners.append(shot.getpixel((355, 495)))
    assert corners == [(255, 255, 255), (0, 0, 0)]


@pytest.mark.parametrize("fault", ["<script>nothing()</script>", '<img src="missing.png">'])
def test_what_goes_wrong_is_in_the_console(browser: Browser, tmp_path: Path, fault: str) -> None:
    browser.open(written(tmp_path, fault))
    assert len(browser.console()) == 1
    browser.reset()
    assert browser.console() == []


def test_nothing_beyond_this_machine_is_reached(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path, '<img src="http://example.com/picture.png">'))
    assert "ERR_NAME_NOT_RESOLVED" in " ".join(browser.console())


@pytest.mark.parametrize(("required", "outcome"), [("", "1 skipped"), ("1", "1 error")])
def test_a_machine_without_a_browser_skips_aloud_unless_it_is_required(
    monkeypatch: pytest.MonkeyPatch, required: str, outcome: str
) -> None:
    monkeypatch.setenv("REQUIRE_BROWSER", required)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    test = "tests/test_browser.py::test_a_page_is_opened_read_and_typed_into"
    command = [sys.executable, "-m", "pytest", test, "-p", "no:cacheprovider"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome in run.stdout and "apt-get install chromium chromium-driver" in run.stdout
