"""The page: its form says what the command line says, and in a browser it makes what ``main.py`` makes."""

import contextlib
import functools
import importlib.util
import io
import os
import shlex
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from selenium.common.exceptions import TimeoutException

import main
from guidance import APPS, get_app
from page import form
from page.maker import Job, Maker, Stopped
from tests import runs
from tests.browser import Browser
from tests.runs import one_thread  # noqa: F401
from utils.errors import UserError
from utils.options import options_of

ROOT = Path(__file__).resolve().parents[1]
HERE = {"127.0.0.1", "localhost", "::1"}
LANDSCAPES = ROOT / "data" / "models" / "landscapes"
PANORAMAS = ROOT / "data" / "models" / "panoramas"
every_app = pytest.mark.parametrize("name", APPS)


def weights(name: str) -> form.Texts:
    """What to type for an app to have weights: nothing, or a path where its own are not in the repository."""
    return {"sd_path": str(LANDSCAPES)} if name == "panorama" and not PANORAMAS.exists() else {}


# ---------------------------------------------------------------------------------------------- the form


@every_app
def test_every_option_has_a_field_or_a_reason_to_have_none(name: str) -> None:
    app = get_app(name)
    placed = [one for names in form.groups_of(app).values() for one in names]
    own = [*form.PROMPTS, "negative_prompt"]
    assert len(placed) == len(set(placed))
    assert {*placed, *own, *form.LEFT_OUT} >= set(options_of(app.options))
    assert not {*placed, *own} & {*form.LEFT_OUT}


@every_app
def test_fields_keep_to_the_ranges_and_words_of_their_options(name: str) -> None:
    app = get_app(name)
    kinds = set()
    for names in form.groups_of(app).values():
        for field, said in ((form.field_of(app, one), options_of(app.options)[one]) for one in names):
            kinds.add(field.kind)
            if field.kind == "slider":
                assert said.low <= field.low < field.high <= said.high
            named = form.MENUS.get(field.name, said.choices)
            assert [value for _, value in field.choices if value] == list(named)
    assert kinds - {"lines"} == {"slider", "menu", "switch", "text"}


@every_app
@pytest.mark.parametrize("preset", ["", "draft"])
def test_a_form_that_nobody_touched_types_nothing(name: str, preset: str) -> None:
    app = get_app(name)
    texts = {**weights(name), **({"preset": preset} if preset else {})}
    defaults = form.defaults_of(app, texts)
    assert form.typed(app, {**defaults, "preset": ""}, {**defaults, "preset": ""}) == {}
    as_a_browser = {one: float(value) if type(value) is int else value for one, value in defaults.items()}
    assert form.typed(app, as_a_browser, defaults) == {}
    panorama = 50 if weights("panorama") else 25
    steps = {"": {"wide_image": 25, "ambiguous_image": 30, "panorama": panorama},
             "draft": {"wide_image": 12, "ambiguous_image": 10, "panorama": 12}}  # fmt: skip
    assert defaults["num_inference_steps"] == steps[preset][name]


def test_what_was_changed_is_typed_as_on_the_command_line() -> None:
    app = get_app("wide_image")
    defaults = form.defaults_of(app, {})
    values = {**defaults, "seed": "9007199254740993", "num_inference_steps": 7.0, "guidance_interval": "0.1 0.8",
              "circular": True, "panorama_width": "256"}  # fmt: skip
    assert form.typed(app, values, defaults) == {
        "seed": "9007199254740993", "num_inference_steps": "7", "guidance_interval": ["0.1", "0.8"],
        "circular": True, "panorama_width": "256",
    }  # fmt: skip


def test_texts_of_a_list_stand_one_a_line() -> None:
    app = get_app("panorama")
    defaults = form.defaults_without_weights(app)
    assert defaults["prompt_up"] == "{}, looking up\n{}, straight up" and defaults["view_set"] == "16"
    assert form.typed(app, defaults, defaults) == {}
    values = {**defaults, "prompts_at": "0:a beach\n\n180:a city at night\n", "prompt_up": "a blue sky"}
    assert form.typed(app, values, defaults) == {
        "prompts_at": ["0:a beach", "180:a city at night"], "prompt_up": ["a blue sky"]
    }  # fmt: skip


def test_views_that_would_read_files_of_this_machine_are_not_offered() -> None:
    assert "rotate_cw" in form.view_names() and "permutation" not in form.view_names()
    with pytest.raises(UserError, match="not among those of the page"):
        form.view_texts([("identity", ""), ("permutation", "file=/etc/passwd")])


def test_weights_by_path_take_the_place_of_the_embedded_ones(sd_folder: Path) -> None:
    app = get_app("wide_image")
    assert form.plan_of(app, {}).family == "tiny"
    assert form.plan_of(app, {"sd_path": str(sd_folder)}).family == "sd"
    assert "--model tiny" in form.command(app, {}) and "tiny" not in form.command(app, {"sd_path": "x"})


@every_app
def test_what_is_offered_to_draw_is_known_to_the_model(name: str) -> None:
    app = get_app(name)
    plan = form.plan_of(app, weights(name))
    examples = form.examples_of(app) if name != "ambiguous_image" else []
    offered = form.known_prompts(plan, [*examples, "a photo of a flying saucer"])
    assert len(offered) >= 10 and "a photo of a flying saucer" not in offered
    if name == "ambiguous_image":
        assert "the letter A" in offered


# ---------------------------------------------------------------------------------------------- the maker


def test_a_stopped_job_takes_no_more_than_the_step_at_hand(tmp_path: Path) -> None:
    app = get_app("wide_image")
    job = Job.of(form.plan_of(app, {"panorama_width": "192", "num_inference_steps": "60"}), "")
    maker = Maker(tmp_path / "page")
    news = maker.make(job)
    while next(news).step < 2:
        pass
    job.stopped.set()
    reached = job.step
    with pytest.raises(Stopped):
        list(news)
    maker.close()
    assert 2 <= reached <= job.step <= reached + 1 < 60
    assert list((tmp_path / "page").iterdir()) == []


# ---------------------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def calls() -> list[str]:
    """Hosts that were called while the page started."""
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def address(folder: Path, calls: list[str]) -> Iterator[str]:
    """The page, served; no other machine may be called for it."""
    if importlib.util.find_spec("gradio") is None:
        refuse = pytest.fail if os.environ.get("REQUIRE_BROWSER") else pytest.skip
        refuse("needs gradio: pip install -r requirements-page.txt")
    from page.server import serving

    connect = socket.socket.connect
    with pytest.MonkeyPatch.context() as patch:

        def noted(self: socket.socket, where: Any) -> None:
            calls.append(where[0] if isinstance(where, tuple) else "a socket of this machine")
            connect(self, where)

        patch.setattr(socket.socket, "connect", noted)
        patch.setattr(os, "environ", os.environ)
        with serving(folder, "127.0.0.1", None) as found:
            yield found


SEEN = """const seen = [...document.querySelectorAll(arguments[0])].filter(one => one.checkVisibility());"""


class Visitor:
    """Someone at the page, with a tab of the browser. What changes while it is looked at is read in one go."""

    def __init__(self, browser: Browser, address: str):
        self.browser = browser
        browser.open(address)
        self.text(".ds-make")
        self.tab = browser.driver.current_window_handle

    def text(self, selector: str, seconds: float = 90) -> str:
        """The text of the first thing to be seen of a selector, once there is one."""
        script = f"{SEEN} return seen.length ? seen[0].innerText.trim() || ' ' : null;"
        return self.browser.wait(lambda: self.browser.run(script, selector), f"no {selector}", seconds)

    def press(self, selector: str, text: str = "") -> None:
        """Click on the first thing to be seen of a selector, of those that begin with a text."""
        script = f"{SEEN} const one = seen.find(one => one.innerText.startsWith(arguments[1]) && !one.disabled);"
        clicked = f"{script} if (one) one.click(); return !!one;"
        self.browser.wait(lambda: self.browser.run(clicked, selector, text), f"no {selector} {text}")

    def choose(self, title: str) -> None:
        """Open the tab of an app."""
        self.press("button[role=tab]", title)
        self.browser.wait(lambda: len(self.browser.all(".ds-make")) == 1, f"no tab {title}")

    def unfold(self, *headings: str) -> None:
        """Open headings; one that a page which is still waking up closes again is opened again."""
        for heading in headings:
            self.press("button.label-wrap", heading)
            self.browser.wait(functools.partial(self._stays_open, heading), f"{heading} stays shut")

    def _stays_open(self, heading: str) -> bool:
        """Whether a heading is open, and still is half a second later; it is pressed again where it is not."""
        opened = f"{SEEN} return seen.some(one => one.innerText.startsWith(arguments[1]));"
        for _ in range(5):
            time.sleep(0.1)
            if not self.browser.run(opened, "button.label-wrap.open", heading):
                self.press("button.label-wrap", heading)
                return False
        return True

    def fill(self, field: str, text: str) -> None:
        """Type into a field that can be seen, in place of what is there."""
        entry = self.browser.one(f"#{field} input:not([type=range]), #{field} textarea")
        entry.clear()
        entry.send_keys(text, "\t")

    def make(self) -> None:
        """Press the button, once more where the page was too busy to hear it."""
        heard = f"{SEEN} return seen.some(one => one.innerText.trim());"
        for seconds in (20, 60):
            self.press(".ds-make")
            with contextlib.suppress(TimeoutException):
                self.browser.wait(lambda: self.browser.run(heard, ".ds-status"), "nothing happens", seconds)
                return
        raise AssertionError("the button does nothing")

    def command(self) -> list[str]:
        """What the page says makes the same, after it is done."""
        self.text(".ds-done, .ds-error")
        assert [one.text for one in self.browser.all(".ds-error")] == []
        script = f"{SEEN} return seen[0].querySelector('details code').textContent;"
        words = shlex.split(self.browser.run(script, ".ds-done"))
        assert words[:2] == ["python", "main.py"]
        return words[2:]


@pytest.fixture
def visitor(browser: Browser, address: str) -> Visitor:
    return Visitor(browser, address)


def made_in(folder: Path) -> list[Path]:
    """The folders of pictures, oldest first."""
    return sorted(path.parent for path in folder.glob("*/run.json"))


def pixels(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))}


def same_from_the_command_line(made: Path, words: list[str], tmp_path: Path) -> None:
    assert main.main([*words, "--save_top_dir", str(tmp_path), "--tag", "again"]) == 0
    ours, theirs = pixels(made), pixels(tmp_path / "again")
    assert ours and ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert runs.comparable(runs.run_json(made)) == runs.comparable(runs.run_json(tmp_path / "again"))


def quick_strip(visitor: Visitor, steps: int = 2, width: int = 192) -> None:
    visitor.unfold("More", "Size", "Steps and guidance")
    visitor.fill("wide_image-panorama_width", str(width))
    visitor.fill("wide_image-num_inference_steps", str(steps))


def test_a_strip_is_the_one_of_the_command_line(visitor: Visitor, folder: Path, tmp_path: Path) -> None:
    visitor.fill("wide_image-prompt", "A canyon with mesas at sunset")
    visitor.fill("wide_image-seed", "5")
    quick_strip(visitor)
    visitor.make()
    words = visitor.command()
    assert {"A canyon with mesas at sunset", "192", "5"} <= set(words)
    same_from_the_command_line(made_in(folder)[-1], words, tmp_path)
    loaded = f"{SEEN} return seen[0].complete && seen[0].naturalWidth;"
    browser = visitor.browser
    browser.wait(lambda: browser.run(loaded, ".ds-strip img") == 192, "the strip is not shown")
    assert browser.run(f"{SEEN} return seen.length;", ".ds-gallery img") == len(pixels(made_in(folder)[-1]))
    assert visitor.text(".ds-record") == "run.json"
    assert browser.console() == []


def test_an_ambigram_is_the_one_of_the_command_line_and_turns(visitor: Visitor, folder: Path, tmp_path: Path) -> None:
    visitor.choose("Ambiguous picture")
    visitor.unfold("More", "Steps and guidance", "Stages 2 and 3")
    visitor.fill("ambiguous_image-num_inference_steps", "2")
    visitor.fill("ambiguous_image-stage2_num_inference_steps", "2")
    visitor.make()
    words = visitor.command()
    same_from_the_command_line(made_in(folder)[-1], words, tmp_path)
    turned = "return getComputedStyle(document.querySelector('.ds-stage img')).transform"
    assert visitor.browser.run(turned) == "none"
    visitor.press(".ds-views label:nth-of-type(2)")
    quarter = "matrix(0, 1, -1, 0, 0, 0)"  # clockwise
    visitor.browser.wait(lambda: visitor.browser.run(turned) == quarter, "the picture does not turn")
    assert visitor.browser.console() == []


def test_a_panorama_is_the_one_of_the_command_line_and_is_looked_around_in(
    visitor: Visitor, folder: Path, tmp_path: Path
) -> None:
    visitor.choose("Panorama")
    if not PANORAMAS.exists():
        assert "no embedded model" in visitor.text(".ds-status .ds-warning")
    visitor.unfold("More", "How the views agree", "Steps and guidance", "Weights, machine and files")
    visitor.fill("panorama-sd_path", str(LANDSCAPES))
    cameras = visitor.browser.one("#panorama-view_set input")
    visitor.browser.wait(lambda: cameras.get_attribute("value") == "22", "the fields do not follow the weights")
    visitor.fill("panorama-prompt", "a beach at sunset")
    visitor.fill("panorama-num_inference_steps", "1")
    visitor.make()
    words = visitor.command()
    assert {"panorama", str(LANDSCAPES)} <= set(words)
    same_from_the_command_line(made_in(folder)[-1], words, tmp_path)
    browser = visitor.browser
    browser.driver.switch_to.frame(browser.one(".ds-sphere iframe"))
    shot = browser.one(".globe canvas").screenshot_as_png
    browser.driver.switch_to.default_content()
    drawn = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))
    assert drawn.shape[1] > 300 and drawn[:, 60:].std() > 5
    assert browser.console() == []


def upload(visitor: Visitor, path: Path) -> None:
    """Give a file to the field of the photograph, in place of what is there."""
    browser, field = visitor.browser, ".ds-photo input[type=file]"
    for button in browser.all(".ds-photo button[aria-label='Clear']"):
        button.click()
    give = "return document.querySelector(arguments[0])"
    browser.wait(lambda: browser.run(give, field), "no field to upload to").send_keys(str(path))
    name = "".join(path.name.split())  # which the page breaks before its ending

    def arrived() -> bool:
        return name in "".join(visitor.text(".ds-photo").split())

    browser.wait(arrived, f"{path.name} does not arrive")


def test_a_photograph_is_uploaded_and_checked_as_on_the_command_line(
    visitor: Visitor, folder: Path, tmp_path: Path
) -> None:
    photo, text = tmp_path / "Foto äö 1.png", tmp_path / "text.png"
    Image.effect_noise((96, 64), 90).convert("RGB").save(photo)
    text.write_text("no picture")
    visitor.choose("Ambiguous picture")
    visitor.unfold("A photograph as the first view", "More", "Steps and guidance", "Stages 2 and 3")
    visitor.fill("ambiguous_image-num_inference_steps", "2")
    visitor.fill("ambiguous_image-stage2_num_inference_steps", "2")
    upload(visitor, photo)
    visitor.make()
    words = visitor.command()
    sent = Path(words[words.index("--ref_image") + 1])
    assert sent.read_bytes() == photo.read_bytes() and sent.is_relative_to(folder)
    same_from_the_command_line(made_in(folder)[-1], words, tmp_path)
    upload(visitor, text)
    visitor.make()
    said = visitor.text(".ds-error")
    assert "text.png is not a picture that can be read" in said and said.startswith("--ref_image ")
    assert visitor.browser.console() == []


def test_menus_have_room_for_what_is_chosen(visitor: Visitor) -> None:
    inside = f"""{SEEN} const style = getComputedStyle(seen[0]);
        return seen[0].clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight)"""
    needed = f"""{SEEN} const pen = document.createElement('canvas').getContext('2d');
        pen.font = getComputedStyle(seen[0]).font; return pen.measureText(arguments[1]).width"""
    arrow = f"""{SEEN} const box = seen[0].getBoundingClientRect(), style = getComputedStyle(seen[0]);
        const arrow = seen[0].parentElement.querySelector('.icon-wrap').getBoundingClientRect();
        return box.right - parseFloat(style.paddingRight) <= arrow.left + arrow.width / 4"""
    field = "#wide_image-preset input"
    assert visitor.browser.run(needed, field, "standard") <= visitor.browser.run(inside, field)
    assert visitor.browser.run(arrow, field)


def test_a_stop_ends_within_a_step_and_leaves_nothing(visitor: Visitor, folder: Path) -> None:
    before = {path.name for path in folder.iterdir()}
    quick_strip(visitor, steps=100, width=768)
    visitor.make()
    visitor.text(".ds-preview img")
    step = int(visitor.text(".ds-run p").split()[1])
    visitor.press(".ds-stop")
    said = visitor.text(".ds-stopped")
    assert said.endswith(" of 100.") and step <= int(said.split()[3]) < 100
    visitor.browser.wait(lambda: {path.name for path in folder.iterdir()} <= before | {".page"}, "the folder stays")
    visitor.browser.wait(lambda: visitor.browser.one(".ds-make").is_enabled(), "no other can be made")


def test_a_mistake_is_told_as_on_the_command_line(visitor: Visitor, capsys: pytest.CaptureFixture[str]) -> None:
    visitor.unfold("More", "Size")
    visitor.fill("wide_image-panorama_width", "102")
    visitor.make()
    visitor.text(".ds-error")
    time.sleep(1)  # and it stays
    said = visitor.text(".ds-error", 3)
    told = runs.refused(capsys, ["--app", "wide_image", "--model", "tiny", "--panorama_width", "102"])
    assert told == f"main.py: error: {said}\n"
    assert visitor.browser.one(".ds-make").is_enabled()


def test_of_two_visitors_the_second_waits_and_both_get_their_own(
    visitor: Visitor, address: str, folder: Path, tmp_path: Path
) -> None:
    browser, before = visitor.browser, made_in(folder)
    quick_strip(visitor, steps=100)
    browser.driver.switch_to.new_window("tab")
    try:
        second = Visitor(browser, address)
        second.fill("wide_image-seed", "2")
        quick_strip(second)
        browser.driver.switch_to.window(visitor.tab)
        visitor.make()
        visitor.text(".ds-run")
        browser.driver.switch_to.window(second.tab)
        second.make()
        place = f"{SEEN} return seen.some(one => one.innerText.startsWith('queue: 1/1'));"
        browser.wait(lambda: browser.run(place, ".ds-status .progress-text"), "no place in the queue")
        words = {2: second.command()}
    finally:
        browser.driver.close()
        browser.driver.switch_to.window(visitor.tab)
    words[1] = visitor.command()
    mine = [path for path in made_in(folder) if path not in before]
    made = {runs.run_json(path)["pictures"][0]["seed"]: path for path in mine}
    for seed, said in words.items():
        same_from_the_command_line(made[seed], said, tmp_path / str(seed))


# ---------------------------------------------------------------------------------------------- what is out of reach


def test_nobody_else_is_called(address: str, calls: list[str]) -> None:
    assert calls and set(calls) <= {*HERE, "a socket of this machine"}


def test_files_outside_of_the_folder_are_not_served(address: str, folder: Path) -> None:
    (folder / "here.txt").write_text("here")
    served = urllib.request.urlopen(f"{address}gradio_api/file={folder / 'here.txt'}")
    assert served.read() == b"here"
    for path in (ROOT / "README.md", ROOT / "data/models/landscapes/words.json", Path("/etc/passwd"), folder / "../x"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address}gradio_api/file={quote(str(path))}")
        assert refused.value.code in (403, 404)
