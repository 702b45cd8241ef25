"""Spheres on a page to look at: a reader drags them, turns them by keyboard, and sees them unrolled without WebGL."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains

from guidance import get_app
from tests import report_folders
from tests.browser import Browser
from utils.report.page import write_report
from utils.report.viewer import VENDOR

LEFT, UP, RIGHT, DOWN, ESCAPE = "\ue012", "\ue013", "\ue014", "\ue015", "\ue00c"
COLOURS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0),
           "white": (255, 255, 255), "black": (0, 0, 0)}  # fmt: skip


@pytest.fixture(scope="module")
def spheres(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = report_folders.score(report_folders.spheres(tmp_path_factory.mktemp("looking") / "spheres"))
    return write_report(folder, get_app("panorama"))


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = report_folders.spheres(tmp_path_factory.mktemp("looking") / "ring", ["a lake"], view_set="ring")
    return write_report(folder, get_app("panorama"))


def canvas(browser: Browser) -> np.ndarray:
    """What the viewer draws: pixels ``[h, w, 3]``."""
    data = browser.one("dialog .globe canvas").screenshot_as_png
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def ahead(browser: Browser) -> str:
    """The colour in the middle of what the viewer draws."""
    pixels = canvas(browser)
    middle = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]
    return min(COLOURS, key=lambda name: np.abs(middle - COLOURS[name]).sum())


def opened(browser: Browser, page: Path, size: tuple[int, int] = (1000, 360)) -> None:
    """Open the first sphere of a page, in a small window: there is little to draw with."""
    browser.resize(*size)
    browser.open(page)
    browser.one(".card .open").click()
    sees(browser, "red")


def sees(browser: Browser, colour: str) -> None:
    browser.wait(lambda: ahead(browser) == colour, f"{colour} is not ahead")


def pose(browser: Browser) -> tuple[float, float, float]:
    """Where the viewer looks: yaw and pitch, and its field of view, in degrees."""
    yaw, pitch, fov = browser.run("return [globe.getYaw(), globe.getPitch(), globe.getHfov()]")
    return yaw, pitch, fov


def looks(browser: Browser, yaw: float, pitch: float, fov: float = 90) -> None:
    browser.run("globe.lookAt(arguments[0], arguments[1], arguments[2], false)", pitch, yaw, fov)


def hold(browser: Browser, key: str, condition: Callable[[float, float, float], bool]) -> None:
    """Hold a key until a condition of the pose is true: how far a moment leads depends on the machine."""
    ActionChains(browser.driver, duration=0).key_down(key).perform()
    try:
        browser.wait(lambda: condition(*pose(browser)), f"{key!r} does not lead there: {pose(browser)}")
    finally:
        ActionChains(browser.driver, duration=0).key_up(key).perform()


def test_a_sphere_opens_around_the_reader(browser: Browser, spheres: Path) -> None:
    opened(browser, spheres)
    pixels = canvas(browser)
    assert pixels.shape[0] == 360 and pixels.shape[1] > 600
    assert (pixels.max(axis=-1) > 200).mean() > 0.95  # no black but straight below
    browser.press(ESCAPE)
    browser.wait(lambda: not browser.run("return document.querySelector('dialog').open"), "it stays open")
    browser.wait(lambda: browser.run("return document.querySelectorAll('canvas').length === 0"), "the viewer stays")
    assert browser.run("return document.activeElement.className") == "open"
    assert browser.console() == []


@pytest.mark.parametrize(
    ("yaw", "pitch", "colour"),
    [(90, 0, "lime"), (180, 0, "blue"), (-90, 0, "yellow"), (0, 90, "white"), (0, -90, "black")],
)
def test_every_direction_is_where_it_belongs(
    browser: Browser, spheres: Path, yaw: float, pitch: float, colour: str
) -> None:
    opened(browser, spheres)
    looks(browser, yaw, pitch)
    sees(browser, colour)


def test_keys_look_around_and_come_closer(browser: Browser, spheres: Path) -> None:
    opened(browser, spheres)
    hold(browser, RIGHT, lambda yaw, pitch, fov: yaw > 2)
    hold(browser, LEFT, lambda yaw, pitch, fov: yaw < -1)
    hold(browser, UP, lambda yaw, pitch, fov: pitch > 2)
    hold(browser, DOWN, lambda yaw, pitch, fov: pitch < -1)
    hold(browser, "+", lambda yaw, pitch, fov: fov < 88)
    assert browser.run("return document.querySelector('dialog .place').textContent") == "1 of 2"
    assert browser.console() == []


def test_dragging_moves_what_is_seen(browser: Browser, spheres: Path) -> None:
    opened(browser, spheres)
    before = canvas(browser)
    globe = browser.one("dialog .globe")
    drag = ActionChains(browser.driver, duration=100).move_to_element_with_offset(globe, 250, 0).click_and_hold()
    drag.move_by_offset(-500, 0).pause(0.2).release().perform()  # to the left: what is to the right comes
    browser.wait(lambda: pose(browser)[0] > 40, "it is not dragged along")
    assert np.abs(canvas(browser) - before).mean() > 20
    assert browser.console() == []


def test_pages_lead_from_one_to_the_next(browser: Browser, spheres: Path) -> None:
    opened(browser, spheres)
    looks(browser, 90, 0)
    sees(browser, "lime")
    browser.press("\ue00f")  # page down
    assert browser.one("dialog .place").text == "2 of 2"
    sees(browser, "red")
    assert browser.run("return document.querySelectorAll('canvas').length") == 1
    assert browser.console() == []


def test_less_motion_stops_where_the_key_is_let_go(browser: Browser, spheres: Path) -> None:
    browser.prefer("light", reduced_motion=True)
    opened(browser, spheres)
    hold(browser, RIGHT, lambda yaw, pitch, fov: yaw > 3)
    yaws = [pose(browser)[0] for _ in range(20)]
    assert yaws[0] == yaws[-1] > 3


def test_without_webgl_it_is_seen_unrolled(browser: Browser, spheres: Path) -> None:
    browser.open(spheres)
    browser.run("HTMLCanvasElement.prototype.getContext = () => null")
    browser.one(".card .open").click()
    assert browser.one("dialog .sphere > img").size["width"] > 600
    assert "unrolled" in browser.one("dialog .hint").text and not browser.all("dialog .globe")
    assert browser.console() == []


def test_a_ring_shows_nothing_beyond_it(browser: Browser, ring: Path) -> None:
    opened(browser, ring)
    looks(browser, 90, 60, 120)
    sees(browser, "lime")
    fov = pose(browser)[2]
    assert (canvas(browser)[:, 60:].max(axis=-1) > 100).all() and fov < 120  # but for the buttons at the left


@pytest.mark.parametrize("width", [360, 1280])
def test_it_fills_the_place_that_there_is(browser: Browser, spheres: Path, width: int) -> None:
    opened(browser, spheres, (width, 900))
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.one("dialog .globe").size["height"] >= 500 and browser.one("dialog .hint").is_displayed()
    unnamed = "return [...document.querySelectorAll('img')].filter(image => !image.alt).length"
    assert browser.run(unnamed) == 0


def test_only_pages_with_a_sphere_hold_the_viewer_and_its_licence(spheres: Path, tmp_path: Path) -> None:
    flat = write_report(report_folders.wide(tmp_path / "strips"), get_app("wide_image")).read_text()
    page = spheres.read_text(encoding="utf-8")
    licence = (VENDOR / "pannellum.LICENSE").read_text(encoding="utf-8")
    assert licence in page and page.count('class="globe"') == 2
    assert "annellum" not in flat and "connect-src" not in flat
    assert 'src="http' not in page


def test_a_record_that_does_not_say_where_leaves_it_flat(tmp_path: Path) -> None:
    folder = report_folders.spheres(tmp_path / "odd")
    record = folder / "run.json"
    record.write_text(record.read_text().replace('"panorama_height": 128', '"panorama_height": 256'))
    page = write_report(folder, get_app("panorama")).read_text(encoding="utf-8")
    assert 'class="globe"' not in page and 'class="look picture"' in page
