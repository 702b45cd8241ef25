"""The pages to look at, in a browser: filters, turns, opens and closes by keyboard, and fits wherever it is shown."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from guidance import get_app
from tests import report_folders
from tests.browser import Browser
from utils.animation.folder import animate
from utils.report.embed import FRAMES
from utils.report.page import write_comparison, write_report
from utils.run.run_folder import RunFolder
from utils.scoring.compare import app_of


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = report_folders.score(report_folders.ambiguous(tmp_path_factory.mktemp("looking") / "pairs"))
    return write_report(folder, get_app("ambiguous_image"))


@pytest.fixture(scope="module")
def strips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = report_folders.score(report_folders.wide(tmp_path_factory.mktemp("looking") / "strips"))
    return write_report(folder, get_app("wide_image"))


def shown(browser: Browser) -> list[tuple[str, str]]:
    """Prompt and seed of the cards that can be seen, in their order."""
    script = """return [...document.querySelectorAll('.card')].filter(card => card.offsetParent !== null)
                .map(card => [card.dataset.prompt, card.dataset.seed])"""
    return [(prompt, seed) for prompt, seed in browser.run(script)]


def choose(browser: Browser, field: str, value: str) -> None:
    browser.run(
        """const field = document.querySelector(arguments[0]); field.value = arguments[1];
           field.dispatchEvent(new Event('input', {bubbles: true}))""",
        field,
        value,
    )


def test_it_sorts_and_filters_without_an_error(browser: Browser, pairs: Path) -> None:
    browser.open(pairs)
    everything = shown(browser)
    assert len(everything) == 6 and browser.one(".count").text == "6 pictures"
    choose(browser, "#find", "FISH")
    assert shown(browser) == [("a red house / a fish", "1"), ("a red house / a fish", "2")]
    choose(browser, "#seed", "2")
    assert shown(browser) == [("a red house / a fish", "2")] and browser.one(".count").text == "1 of 6 pictures"
    choose(browser, "#find", "nothing like it")
    browser.one("#clear").click()
    assert shown(browser) == everything
    choose(browser, "#order", "score")
    assert shown(browser) == everything[::-1]  # scores rise in the order in which they were made
    browser.one("#best").click()
    assert [seed for _, seed in shown(browser)] == ["2", "2", "2"]
    assert browser.console() == []


def test_a_picture_turns_under_the_pointer(browser: Browser, pairs: Path) -> None:
    browser.open(pairs)
    browser.point_at(browser.one(".card .open"))
    browser.wait(lambda: browser.run("return document.querySelector('.card').dataset.seen === '1'"), "it does not turn")
    assert browser.run("return document.querySelector('.card .prompt.on').textContent") == "a fish"
    assert browser.console() == []


DRAWN = """window.drawn = []; const draw = CanvasRenderingContext2D.prototype.drawImage;
           CanvasRenderingContext2D.prototype.drawImage = function (sheet, left, ...rest) {
             window.drawn.push(left); return draw.call(this, sheet, left, ...rest); }"""


@pytest.mark.parametrize("reduced", [False, True])
def test_who_prefers_less_motion_sees_the_view_and_no_way_to_it(browser: Browser, pairs: Path, reduced: bool) -> None:
    browser.prefer("light", reduced_motion=reduced)
    browser.open(pairs)
    browser.run(DRAWN)
    browser.point_at(browser.one(".card .open"))
    side = report_folders.SIDE
    last = f"return window.drawn.at(-1) === {(FRAMES - 1) * side}"
    browser.wait(lambda: browser.run(last), "it does not turn")
    seen = browser.run("return new Set(window.drawn).size")
    assert seen == 1 if reduced else seen > 2
    assert browser.console() == []


def test_a_moving_picture_plays(browser: Browser, tmp_path: Path) -> None:
    folder = report_folders.ambiguous(tmp_path / "pairs", report_folders.PAIRS[:1], [1])
    app, made = get_app("ambiguous_image"), RunFolder.reopen(folder)
    assert animate(made, made.finished(), app, "gif") == {}
    browser.open(write_report(folder, app))
    browser.one(".card .open").click()
    browser.run("[...document.querySelectorAll('dialog .looks button')].at(-1).click()")
    assert browser.one("dialog .look.film img").get_attribute("alt") == "in motion"
    first, later = (tmp_path / name for name in ("first.png", "later.png"))
    browser.screenshot(first)

    def moved() -> bool:
        shots = [Image.open(path).convert("RGB") for path in (first, browser.screenshot(later))]
        return ImageChops.difference(*shots).getbbox() is not None

    browser.wait(moved, "it stands still")
    assert browser.console() == []


def test_it_is_used_by_keyboard(browser: Browser, pairs: Path) -> None:
    browser.open(pairs)
    browser.press("/", "moon")
    assert {prompt for prompt, _ in shown(browser)} == {"the moon / a coin"}
    browser.run("document.querySelector('.card:not([hidden]) .open').focus()")
    browser.press("\ue007")  # Enter
    assert browser.one("dialog .place").text == "1 of 2"
    browser.press("\ue014")  # right
    assert browser.one("dialog .place").text == "2 of 2"
    browser.press("2")
    pressed = "return document.querySelector('dialog .looks [aria-pressed=true]').dataset.look"
    assert browser.run(pressed) == "1"
    browser.press("\ue00c")  # Escape
    browser.wait(lambda: not browser.run("return document.querySelector('dialog').open"), "it stays open")
    assert browser.run("return document.activeElement.className") == "open"
    assert browser.console() == []


def test_a_strip_opens_large_and_scrolls(browser: Browser, strips: Path) -> None:
    browser.open(strips)
    browser.resize(360)
    browser.one(".card .open").click()
    scrolled = """const strip = document.querySelector('dialog .scroll'); strip.scrollLeft = 100;
                  return strip.scrollLeft > 0 && strip.querySelector('img').naturalWidth === 768"""
    browser.wait(lambda: browser.run(scrolled), "it does not scroll")
    assert browser.console() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_and_can_be_read(browser: Browser, pairs: Path, strips: Path, width: int, scheme: str) -> None:
    browser.resize(width)
    browser.prefer(scheme)
    for page in (pairs, strips):
        browser.open(page)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        unnamed = "return [...document.querySelectorAll('img')].filter(image => !image.alt).length"
        assert browser.run(unnamed) == 0
        colours = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
        text, ground = (sum(map(float, c[c.index("(") + 1 : -1].split(",")[:3])) for c in browser.run(colours))
        assert (text > ground + 300) == (scheme == "dark") and abs(text - ground) > 300
        assert browser.console() == []


def test_folders_side_by_side(browser: Browser, tmp_path: Path) -> None:
    folders = [
        report_folders.score(report_folders.ambiguous(tmp_path / name), [figure] * 6)
        for name, figure in (("eps", 0.2), ("x0", 0.3))
    ]
    browser.open(write_comparison(folders, [get_app("ambiguous_image")] * 2))
    text = browser.run("return document.body.innerText")
    assert "eps" in text and "x0" in text and "0.2" in text and "0.3" in text
    assert len(browser.all(".card")) == 12
    assert browser.console() == []


@pytest.mark.parametrize("make", [report_folders.ambiguous, report_folders.wide])
def test_folders_side_by_side_fit_a_telephone(browser: Browser, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    names = (f"a_rather_long_name_of_a_folder_{sync}" for sync in ("eps", "x0"))
    folders = [report_folders.score(make(tmp_path / name)) for name in names]
    browser.resize(360)
    browser.open(write_comparison(folders, [get_app(app_of(folder)) for folder in folders]))
    assert browser.run("return document.documentElement.scrollWidth") <= 360
    wide = "return [...document.querySelectorAll('.card')].filter(one => one.getBoundingClientRect().right > 360)"
    assert browser.run(f"{wide}.length") == 0
    browser.one(".card .open").click()
    inside = "const box = document.querySelector('dialog').getBoundingClientRect(); return [box.left, box.right]"
    left, right = browser.run(inside)
    assert 0 <= left < right <= 360
    browser.press("\ue00c")  # Escape
    choose(browser, "#find", "nothing like it")
    assert browser.all(".card") == [] and browser.one(".nothing").is_displayed()
    assert browser.console() == []
