"""A real Chromium, headless, for tests of pages: what a person would see, press and find in the console.

The system's own browser and driver are taken; nothing is downloaded, and the browser reaches nothing but this machine.
"""

import base64
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
REMEDY = "needs Chromium and its driver: apt-get install chromium chromium-driver"
WIDTH, HEIGHT = 1280, 900
SECONDS = 20  # that a page may take to become what a test waits for
ONLY_HERE = "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"


def find_programs() -> tuple[str, str] | None:
    """Return the paths of browser and driver, or None where one of them is not installed."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """A browser with one window; a session of tests shares it, and :meth:`reset` makes it as new.

    Attributes:
        driver: selenium's own, for whatever is not here.
    """

    def __init__(self, programs: tuple[str, str], profile: Path):
        options = webdriver.ChromeOptions()
        options.binary_location, driver = programs
        for switch in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--use-angle=swiftshader",
                       "--enable-unsafe-swiftshader", "--no-first-run",
                       "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
                       f"--host-resolver-rules={ONLY_HERE}", f"--user-data-dir={profile}"):  # fmt: skip
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        os.environ.setdefault("NO_PROXY", "localhost,127.0.0.1")  # selenium speaks to the driver by HTTP
        self.driver = webdriver.Chrome(options=options, service=Service(driver))

    def reset(self) -> None:
        """Leave the page, forget its messages; back to the usual size, to light, to motion."""
        self.driver.get("about:blank")
        self.resize(WIDTH, HEIGHT)
        self.prefer("light")
        self.console()

    def quit(self) -> None:
        self.driver.quit()

    # ------------------------------------------------------------------------------ the window

    def open(self, page: Path | str) -> None:
        """Open a file, or an address on this machine."""
        self.driver.get(page.resolve().as_uri() if isinstance(page, Path) else page)

    def resize(self, width: int, height: int = HEIGHT) -> None:
        """Give the page so many CSS pixels; as narrow as a telephone, too, which a window cannot be."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def prefer(self, scheme: str, reduced_motion: bool = False) -> None:
        """Prefer ``light`` or ``dark``, as the system's settings would."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce" if reduced_motion else "no-preference"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def screenshot(self, path: Path, whole: bool = False) -> Path:
        """Write a PNG of the window, or of the whole page."""
        asked = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
            asked["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self.driver.execute_cdp_cmd("Page.captureScreenshot", asked)["data"]
        path.write_bytes(base64.b64decode(data))
        return path

    # ------------------------------------------------------------------------------ what the page says

    def console(self) -> list[str]:
        """Return the messages of level SEVERE since the last call: errors of scripts, and what could not be loaded."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page: the body of a function, with ``arguments``."""
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[WebElement]:
        """Return the elements of a CSS selector that a person can see."""
        return [found for found in self.driver.find_elements(By.CSS_SELECTOR, selector) if found.is_displayed()]

    def one(self, selector: str) -> WebElement:
        """Return the first of these, once there is one.

        Raises:
            TimeoutException: there was none.
        """
        return self.wait(lambda: next(iter(self.all(selector)), None), f"nothing to see of {selector}")

    def wait(self, condition: Callable[[], Any], failure: str, seconds: float = SECONDS) -> Any:
        """Wait until a condition is true; return what it returned.

        Raises:
            TimeoutException: with the message ``failure``.
        """
        return WebDriverWait(self.driver, seconds, poll_frequency=0.05).until(lambda _: condition(), failure)

    # ------------------------------------------------------------------------------ what a person does

    def press(self, *keys: str) -> None:
        """Press keys, where the focus is."""
        actions = ActionChains(self.driver, duration=0)
        for key in keys:
            actions.send_keys(key)
        actions.perform()

    def point_at(self, element: WebElement, share: Sequence[float] = (0.5, 0.5)) -> None:
        """Move the pointer over an element, to a share of its width and height."""
        size = element.size
        right, down = (round((part - 0.5) * size[side]) for part, side in zip(share, ("width", "height"), strict=True))
        ActionChains(self.driver, duration=0).move_to_element_with_offset(element, right, down).perform()
