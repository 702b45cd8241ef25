"""Pages to look at: what they hold of a folder, whatever the folder holds."""

import base64
import io
import json
import os
import re
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

import eval as evaluation
import main
from guidance import get_app
from tests import report_folders, runs
from tests.report_folders import PAIRS, ambiguous, drawn, score, wide
from utils.errors import UserError
from utils.images import save_png
from utils.report import cards
from utils.report.cards import CardMaker
from utils.report.contents import read_contents
from utils.report.embed import FRAMES
from utils.report.page import differing, write_comparison, write_report
from utils.report.plot import axis_of

HOSTILE = (
    "</script><script>document.title = 'taken'</script>",
    "\"><img src=x onerror=alert(1)> & 'quotes'",
    "{{ 7 * 7 }} {% raw %} ${7}",
    "雪山の村 – قرية جبلية \u202eright to left",
    "long " * 400,
)


class Page(HTMLParser):
    """The elements of a page, by name, each with its attributes; and the text that a reader sees."""

    def __init__(self, path: Path):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside not in ("style", "script"):
            self.texts.append(data)

    def of(self, tag: str, css: str = "") -> list[dict[str, str | None]]:
        return [said for name, said in self.elements if name == tag and css in ["", *(said.get("class") or "").split()]]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def report(folder: Path, app: str = "ambiguous_image") -> Page:
    return Page(write_report(folder, get_app(app)))


def decoded(uri: str | None) -> Image.Image:
    assert uri is not None and uri.startswith("data:image/")
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


# ---------------------------------------------------------------------------------------------- what a page holds


def test_a_page_is_one_file_that_needs_nothing_besides(tmp_path: Path) -> None:
    page = report(score(ambiguous(tmp_path / "t")))
    places = [said[name] for _, said in page.elements for name in ("src", "href", "data", "poster") if name in said]
    assert places and all(str(place).startswith(("data:", "#")) for place in places)
    assert "url(" not in page.source and "@import" not in page.source and "fetch(" not in page.source
    policy = next(said["content"] for said in page.of("meta") if said.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'; img-src data:;") and "unsafe" not in str(policy)


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = score(ambiguous(tmp_path / "t"))
    first = write_report(folder, get_app("ambiguous_image")).read_bytes()
    assert write_report(folder, get_app("ambiguous_image")).read_bytes() == first
    names = {path.name for path in folder.iterdir()}
    assert "report.html" in names and not any(name.endswith(".tmp") for name in names)


def test_every_picture_has_its_prompts_seed_and_scores(tmp_path: Path) -> None:
    page = report(score(ambiguous(tmp_path / "t"), [0.1, 0.2, 0.3, 0.45, 0.5, 0.6]))
    found = page.of("article", "card")
    assert [(card["data-prompt"], card["data-seed"], card["data-score"]) for card in found] == [
        (" / ".join(pair), str(seed), figure)
        for pair, seed, figure in zip(
            [pair for pair in PAIRS for _ in range(2)],
            [1, 2] * 3,
            ["0.1", "0.2", "0.3", "0.45", "0.5", "0.6"],
            strict=True,
        )
    ]
    assert [card["data-best"] for card in found] == ["0", "1"] * 3
    assert page.text.count("best of 2") == 2 * 3  # on the page, and where it is large


def test_pictures_open_as_they_are(tmp_path: Path) -> None:
    folder = ambiguous(tmp_path / "t", PAIRS[:1], [1])
    page = report(folder)
    large = [said["src"] for said in page.of("img") if str(said.get("src")).startswith("data:image/png")]
    views = [folder / "a_red_house.png", folder / "a_fish.png"]
    assert [base64.b64decode(str(uri).partition(",")[2]) for uri in large] == [view.read_bytes() for view in views]


def test_frames_lead_from_the_picture_to_its_view(tmp_path: Path) -> None:
    page = report(ambiguous(tmp_path / "t", PAIRS[:1], [1]))
    (card,) = page.of("article", "card")
    sheet = decoded(card["data-sheet"]).convert("RGB")
    assert (card["data-poses"], card["data-frames"], sheet.size) == ("1", str(FRAMES), (FRAMES * 64, 64))
    rest = drawn(0)
    for left, wanted in ((0, rest), (FRAMES - 1, rest.transpose(Image.Transpose.ROTATE_270))):
        frame = sheet.crop((left * 64, 0, left * 64 + 64, 64))
        assert _difference(frame, wanted) < 6 < _difference(frame, wanted.transpose(Image.Transpose.ROTATE_180))


def _difference(one: Image.Image, other: Image.Image) -> float:
    pairs = list(zip(one.tobytes(), other.tobytes(), strict=True))
    return sum(abs(a - b) for a, b in pairs) / len(pairs)


def test_three_views_have_two_rows_of_frames(tmp_path: Path) -> None:
    page = report(ambiguous(tmp_path / "t", [("a", "b", "c")], [1], ("identity", "rotate_cw", "rotate_180")))
    (card,) = page.of("article", "card")
    assert card["data-poses"] == "2" and decoded(card["data-sheet"]).size == (FRAMES * 64, 2 * 64)


def test_views_that_are_pictures_of_their_own_do_not_turn(tmp_path: Path) -> None:
    folder = ambiguous(tmp_path / "t", PAIRS[:1], [1])
    save_png(folder / "a_fish.png", drawn(7))
    page = report(folder)
    (card,) = page.of("article", "card")
    assert "data-sheet" not in card and "1 of these pictures do not turn here" in page.text


def test_a_strip_has_its_crops_and_its_seam(tmp_path: Path) -> None:
    folder = score(wide(tmp_path / "t"))
    contents = read_contents(folder, get_app("wide_image"))
    made = CardMaker(contents, get_app("wide_image")).cards()
    assert all(card.wide and card.looks[0].kind == "strip" for card in made)
    assert [len(card.parts) for card in made] == [2, 2]
    assert [[name for name, _, _ in card.measured] for card in made] == [["seams"], ["seams"]]
    plain = [card.measured[0][2] for card in made]
    strip = Image.open(folder / "a_green_valley.png").convert("RGB")
    strip.paste((0, 0, 0), (64 * 3, 0, 64 * 4, 128))  # between two columns where windows begin
    save_png(folder / "a_green_valley.png", strip)
    seams = [card.measured[0][2] for card in CardMaker(contents, get_app("wide_image")).cards()]
    assert seams[0] > 1.2 * plain[0] and seams[1] == plain[1]


@pytest.mark.parametrize(
    "said", [{"window_schedule": "shifted"}, {"sync": "none"}, {"panorama_height": 256}, {"window_stride": 0}]
)
def test_a_seam_that_cannot_be_known_is_not_told(tmp_path: Path, said: dict) -> None:
    folder = wide(tmp_path / "t")
    record = runs.run_json(folder)
    record["options"] |= said
    (folder / "run.json").write_text(json.dumps(record))
    page = report(folder, "wide_image")
    assert "seams" not in re.findall(r"<dt>(\w+)</dt>", page.source) and "seed" in re.findall(
        r"<dt>(\w+)</dt>", page.source
    )


def test_the_grade_stands_at_the_top_and_its_limits_in_the_plot(tmp_path: Path) -> None:
    grade = {"points": 5.0, "of": 10.0, "rule": "10 above 0.28, 5 from 0.26, else 0"}
    page = report(score(ambiguous(tmp_path / "t"), grade=grade))
    assert "grade 5 of 10" in page.text and "Grade: 5 of 10 (10 above 0.28" in page.text
    assert len(page.of("line", "limit")) == 2 * len(PAIRS)
    assert not report(score(ambiguous(tmp_path / "u"))).of("line", "limit")


def test_what_is_not_scored_or_not_made_is_told(tmp_path: Path) -> None:
    folder = score(ambiguous(tmp_path / "t"))
    (folder / "notes.txt").write_text("x")
    record = runs.run_json(folder)
    record["pictures"][-1] |= {"status": "failed", "error": "RuntimeError: <out of memory>"}
    (folder / "run.json").write_text(json.dumps(record))
    page = report(folder)
    assert len(page.of("article", "card")) == 5
    for said in (
        "5 side by side",
        "notes.txt",
        "not a picture that can be read",
        "failed: RuntimeError: <out of memory>",
    ):
        assert said in page.text


def test_a_copy_with_other_times_has_its_scores_still(tmp_path: Path) -> None:
    folder = score(ambiguous(tmp_path / "t"))
    os.utime(folder / "eval_details.json", (time.time() - 3600,) * 2)
    copied = shutil.copytree(folder, tmp_path / "copied", copy_function=shutil.copyfile)
    assert "older than" not in report(folder).text + report(copied).text
    save_png(copied / "a_fish_seed1.png", drawn(7))
    assert "older than 1 of 12 files" in report(copied).text and "older than" not in report(folder).text


def test_a_moving_picture_is_shown_and_what_only_calls_itself_one_is_not(tmp_path: Path) -> None:
    folder = wide(tmp_path / "t")
    assert main.main(["--app", "wide_image", "--animate_from", str(folder), "--animate", "webp"]) == 0
    page = report(folder, "wide_image")
    films = [decoded(page.of("img")[index]["src"]) for index in range(len(page.of("img")))]
    assert sum(getattr(film, "is_animated", False) for film in films) == 2
    (folder / "a_green_valley.webp").write_bytes(b"root:x:0:0 a secret")
    page = report(folder, "wide_image")
    assert "a secret" not in page.source and base64.b64encode(b"a secret").decode()[:8] not in page.source
    assert "a_green_valley.webp not a moving picture" in page.text


def test_a_page_of_very_many_pictures_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = wide(tmp_path / "t")
    assert main.main(["--app", "wide_image", "--animate_from", str(folder), "--animate", "webp"]) == 0
    monkeypatch.setattr(cards, "AS_THEY_ARE", 10)
    monkeypatch.setattr(cards, "FILMS", 10)
    page = report(folder, "wide_image")
    assert "data:image/png" not in page.source
    assert "shown as WebP" in page.text and "moving pictures are left out" in page.text
    assert not any(getattr(decoded(said["src"]), "is_animated", False) for said in page.of("img"))


def test_none_of_equals_is_called_the_best(tmp_path: Path) -> None:
    folders = [
        score(ambiguous(tmp_path / name, PAIRS[:2], [1]), [0.2, last]) for name, last in (("a", 0.2), ("b", 0.3))
    ]
    page = Page(write_comparison(folders, [get_app("ambiguous_image")] * 2))
    assert len(page.of("span", "best")) == 1  # of the second pair


# ---------------------------------------------------------------------------------------------- folders from anywhere


def test_prompts_are_text_whatever_they_hold(tmp_path: Path) -> None:
    page = report(score(ambiguous(tmp_path / "t", [(one, f"{one} turned") for one in HOSTILE], [1])))
    assert [card["data-prompt"] for card in page.of("article", "card")] == [f"{one} / {one} turned" for one in HOSTILE]
    assert len(page.of("script")) == 1 and not any("onerror" in said for _, said in page.elements)
    assert all(" ".join(one.split()) in page.text for one in HOSTILE)


def test_names_of_files_and_folders_are_text_too(tmp_path: Path) -> None:
    folder = ambiguous(tmp_path / "<b>t&amp;", PAIRS[:1], [1])
    save_png(folder / "<script>alert(1)</script>x".replace("/", "_"), drawn(3)) if os.name == "posix" else None
    (folder / os.fsdecode(b"not \xff unicode.txt")).write_bytes(b"x")
    page = report(folder)
    assert len(page.of("script")) == 1 and not page.of("b")
    assert "<b>t&amp;" in page.text and "\\udcff" in page.source


def test_without_scores_the_page_says_how_to_get_them(tmp_path: Path) -> None:
    folder = ambiguous(tmp_path / "two words")
    page = report(folder)
    assert f"python eval.py --fdir1 '{folder}' --app ambiguous_image --report" in page.text
    assert not page.of("details", "plot") and all(card["data-score"] == "" for card in page.of("article", "card"))


@pytest.mark.parametrize("content", ["[]", '{"clip": 3}', '{"pictures": [{"score": NaN}]}', "{", "[" * 100_000])
def test_damaged_scores_are_left_out_and_told(tmp_path: Path, content: str) -> None:
    folder = ambiguous(tmp_path / "t")
    (folder / "eval_details.json").write_text(content)
    page = report(folder)
    assert "The scores are left out" in page.text and len(page.of("article", "card")) == 6


def test_scores_of_some_pictures_only_are_called_older(tmp_path: Path) -> None:
    folder = score(ambiguous(tmp_path / "t", PAIRS[:2]))
    assert "older" not in report(folder).text
    ambiguous(folder, PAIRS)
    assert "older than 4 of 12 files" in report(folder).text


def test_scores_from_before_the_pictures_are_called_older(tmp_path: Path) -> None:
    folder = score(ambiguous(tmp_path / "t", PAIRS[:1], [1]))
    for number, name in enumerate(("a_red_house.png", "a_fish.png"), start=7):
        save_png(folder / name, drawn(number))
    assert "older than 2 of 2 files" in report(folder).text


def test_pictures_that_are_gone_or_damaged_are_left_out_and_told(tmp_path: Path) -> None:
    folder = score(ambiguous(tmp_path / "t", PAIRS, [1]))
    for path in folder.glob("*a_red_house*"):
        path.unlink()
    (folder / "a_fish.png").unlink()
    for name in ("a_tall_tree-a_spoon.png", "a_tall_tree.png", "a_spoon.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:200])
    page = report(folder)
    assert [card["data-prompt"] for card in page.of("article", "card")] == ["the moon / a coin"]
    assert "a_red_house.png named in run.json, but not in the folder" in page.text
    assert "a damaged picture" in page.text


def test_a_record_that_is_wrong_about_views_stops_no_page(tmp_path: Path) -> None:
    for index, views in enumerate((None, [1, 2], ["identity", "no_such_view"], ["identity"])):
        folder = ambiguous(tmp_path / str(index), PAIRS[:1], [1])
        record = runs.run_json(folder)
        record["options"]["views_names"] = views
        (folder / "run.json").write_text(json.dumps(record))
        assert "do not turn here" in report(folder).text


@pytest.mark.parametrize("case", ["empty", "missing", "another app", "damaged record", "only damaged"])
def test_a_folder_that_cannot_be_shown_is_told(tmp_path: Path, case: str) -> None:
    folder, app = tmp_path / "t", "ambiguous_image"
    if case != "missing":
        folder.mkdir()
    if case == "another app":
        wide(folder)
    if case == "damaged record":
        (folder / "run.json").write_text("{")
    if case == "only damaged":
        save_png(folder / "x.png", drawn(1, 300, 300))
        (folder / "x.png").write_bytes((folder / "x.png").read_bytes()[:300])
    with pytest.raises(UserError):
        write_report(folder, get_app(app))
    assert not (folder / "report.html").exists()


def test_pictures_that_no_record_knows_are_grouped_by_their_names(tmp_path: Path) -> None:
    for name, size in (("a_lake", (384, 64)), ("a_lake_0", (64, 64)), ("a_lake_99", (64, 64)), ("a_hill", (64, 64))):
        save_png(tmp_path / f"{name}.png", drawn(1, *size))
    page = report(tmp_path, "wide_image")
    assert [(card["data-prompt"], "wide" in str(card["class"])) for card in page.of("article", "card")] == [
        ("a lake", True), ("a hill", False)]  # fmt: skip
    assert len(page.of("ul", "parts")) == 1


def test_a_page_is_no_picture_to_score(tmp_path: Path) -> None:
    folder = ambiguous(tmp_path / "t", PAIRS[:1], [1])
    report(folder)
    assert "report.html" not in report(folder).text


# ---------------------------------------------------------------------------------------------- commands


def test_eval_writes_a_page_with_its_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ambiguous(tmp_path / "t", PAIRS[:1], [1])
    assert evaluation.main(["--fdir1", str(folder), "--app", "ambiguous_images", "--report"]) == 0
    assert f"Wrote {folder / 'report.html'}" in capsys.readouterr().out
    (card,) = Page(folder / "report.html").of("article", "card")
    rows = json.loads((folder / "eval_details.json").read_text())["pictures"]
    assert float(str(card["data-score"])) == pytest.approx(sum(row["score"] for row in rows) / 2)


def test_main_writes_a_page_after_a_batch_and_of_a_folder_that_is_complete(
    tmp_path: Path, sd_folder: Path, fast_wide: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = runs.wide(sd_folder, tmp_path, "--prompt", "a hill", "--report")
    assert main.main(argv) == 0
    page = tmp_path / "t" / "report.html"
    assert f"Wrote {page}" in capsys.readouterr().out and len(Page(page).of("article", "card")) == 1
    page.unlink()
    assert main.main([*argv, "--seed", "1"]) == 0 and len(fast_wide) == 1
    assert page.is_file()


fast_wide, read_once, one_thread = runs.fast_wide, runs.read_once, runs.one_thread


# ---------------------------------------------------------------------------------------------- side by side


def folders(tmp_path: Path) -> list[Path]:
    """Two folders with other options, one of them with a picture more."""
    one = score(ambiguous(tmp_path / "one", PAIRS[:2]), [0.1, 0.2, 0.3, 0.4])
    other = score(ambiguous(tmp_path / "other", PAIRS), [0.3, 0.1, 0.5, 0.6, 0.9, 0.9])
    record = runs.run_json(other)
    record["options"]["sync"] = "<eps>"
    (other / "run.json").write_text(json.dumps(record))
    return [one, other]


def test_folders_stand_side_by_side_over_what_all_of_them_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = folders(tmp_path)
    assert evaluation.main(["--compare", *map(str, paths), "--report"]) == 0
    said, page = capsys.readouterr().out, Page(tmp_path / "comparison.html")
    assert "over the 8 prompts and seeds" in said and f"Wrote {tmp_path / 'comparison.html'}" in said
    lines = [said["data-prompt"] for said in page.of("section", "line")]
    assert lines == [" / ".join(pair) for pair in PAIRS[:2] for _ in range(2)]
    assert len(page.of("article", "card")) == 2 * 4
    for shown in ("0.2500", "0.3750", "+0.1250", "--sync", "<eps>", "x0"):
        assert shown in page.text
    assert "--views_names" not in page.text  # it is the same in both
    marks = re.findall(r'class="letter" title="(\w+)">\w</span><span>[\d.]+</span>(<span class="best">)?', page.source)
    assert [name for name, best in marks if best] == ["other", "one", "other", "other"]


def test_comparing_without_a_page_writes_none(tmp_path: Path) -> None:
    assert evaluation.main(["--compare", *map(str, folders(tmp_path))]) == 0
    assert not (tmp_path / "comparison.html").exists()


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = [score(ambiguous(tmp_path / name / "t", PAIRS[:1])) for name in ("one", "other")]
    page = Page(write_comparison(paths, [get_app("ambiguous_image")] * 2))
    assert str(paths[1]) in page.text


def test_only_what_differs_is_set_side_by_side() -> None:
    made = [{"model": "tiny", "--sync": "x0", "device": "a"}, {"model": "tiny", "--sync": "xt", "--eta": "1"}]
    assert differing(made) == [{"--sync": "x0", "--eta": ""}, {"--sync": "xt", "--eta": "1"}]


@pytest.mark.parametrize("values", [[0.3], [0.25, 0.31], [-1.0, 1.0], [0.3, 0.3000001], [1e-9, 12345.0]])
def test_an_axis_holds_its_values_and_round_ticks(values: list[float]) -> None:
    axis = axis_of(values)
    places = [float(axis.place(value).rstrip("%")) for value in values]
    assert all(0 < place < 100 for place in places)
    assert 2 <= len(axis.ticks) <= 8 and len({text for text, _ in axis.ticks}) == len(axis.ticks)
    assert all(0 <= float(place.rstrip("%")) <= 100 for _, place in axis.ticks)


def test_the_folders_of_these_tests_are_as_the_program_makes_them(tmp_path: Path) -> None:
    assert read_contents(report_folders.wide(tmp_path / "w"), get_app("wide_image")).unscored == {}
