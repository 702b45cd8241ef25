"""submit.py: the PDF and the ZIP that are handed in, the checklist of what is missing, and how it ends."""

import io
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader

import eval as eval_script
import submit
from guidance import get_app
from guidance.command_line import parse
from utils.files import sha256
from utils.prompts import PictureRequest
from utils.submission.pdf import READABLE_HEIGHT, WIDTH, _place, _rows
from utils.submission.text import markup, register_fonts

ROOT = Path(__file__).parents[1]
WIDE = json.loads((ROOT / "data" / "wide_image_prompts.json").read_text())
PAIRS = json.loads((ROOT / "data" / "ambiguous_image_prompts.json").read_text())
STRIPS = [PictureRequest((entry["prompt"],), {"eval_pos": entry["eval_pos"]}) for entry in WIDE.values()]
VIEWS = [PictureRequest((entry["canonical_prompt"], entry["instance_prompt"])) for entry in PAIRS.values()]
OF_TASK_3 = {"views_names": ["identity", "inner_rotate"], "rotate_angle": 90.0}


def draw(path: Path, seed: int, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def make_folder(
    folder: Path, app: str, requests: Sequence[PictureRequest], options: dict[str, Any], family: str = "sd"
) -> Path:
    """A folder of small random pictures as main.py leaves it."""
    folder.mkdir(parents=True)
    sizes = {"strip": (96, 16), "side_by_side": (32, 16)}
    views = SimpleNamespace(views_names=["identity"] * 2)
    pictures = []
    for number, request in enumerate(requests):
        files = get_app(app).list_files(views, request, "")
        for index, entry in enumerate(files):
            draw(folder / entry["file"], 1000 * number + index, sizes.get(entry["role"], (16, 16)))
        own = {"seed": 7, "status": "done", "files": files}
        pictures.append({"name": f"{number}", "prompts": list(request.prompts), **request.inputs, **own})
    model = {"family": family, "sources": {"sd_path": {"name": "owner/weights", "commit": "c0ffee"}}}
    record = {"version": 2, "app": app, "options": options, "model": model, "sessions": [{"git_revision": "1234abc"}]}
    (folder / "run.json").write_text(json.dumps({**record, "pictures": pictures}))
    return folder


def score(folder: Path, value: float = 0.3, graded: bool = True) -> Path:
    """Write what eval.py writes, as if every picture had one score."""
    record = json.loads((folder / "run.json").read_text())
    rows = [
        {"file": entry["file"], "prompt": entry["prompt"], "score": value, "sha256": sha256(folder / entry["file"])}
        for picture in record["pictures"]
        for entry in picture["files"]
        if entry["role"] in ("crop", "view")
    ]
    prompts: dict[str, list[str]] = {}
    for row in rows:
        prompts.setdefault(row["prompt"], []).append(row["file"])
    details = {
        "source_dir": f"{folder}/",
        "clip": {"model": "ViT-B-32-quickgelu" if graded else "tiny", "sha256": "0"},
        "score": value,
        "grade": {"points": 10, "of": 10, "rule": "as the course says"} if graded else None,
        "prompts": [{"prompt": prompt, "score": value, "files": files} for prompt, files in prompts.items()],
        "pictures": rows,
    }
    (folder / "eval_details.json").write_text(json.dumps(details))
    (folder / "eval.json").write_text(json.dumps(eval_script.assignment_json(details), indent=2))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All tasks, complete and scored."""
    top = tmp_path_factory.mktemp("finished") / "results"
    score(make_folder(top / "wide_images", "wide_image", STRIPS, {"num_inference_steps": 50}))
    score(make_folder(top / "ambiguous_images", "ambiguous_image", VIEWS, {"views_names": ["identity", "rotate_cw"]}))
    for sync in submit.CASES:
        score(make_folder(top / f"task3_{sync}", "ambiguous_image", VIEWS, {**OF_TASK_3, "sync": sync}))
    return top


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    """A copy of them, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "results"))


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a git checkout of its own, from which submit.py takes the code."""
    root = tmp_path / "project"
    files = ("main.py", "guidance/a.py", "data/models/m/model.safetensors", "data/models/m/config.json",
             "results/embedded/old.png", ".gitignore")  # fmt: skip
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"of {name}")
    (root / ".gitignore").write_text(".venv/\n")
    for page in ("wide_image_prompts.json", "ambiguous_image_prompts.json"):
        shutil.copy(ROOT / "data" / page, root / "data")
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)  # of a hook that runs these tests
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    (root / ".venv").mkdir()
    (root / ".venv" / "python.py").write_text("")
    monkeypatch.setattr(submit, "ROOT", root)
    return root


def run(results: Path, *more: object, tasks3: Sequence[str] = submit.CASES) -> int:
    """Hand in everything; ``more`` comes last and wins."""
    argv = ["--name", "Ada Lovelace", "--sid", "20240001", "--wide", results / "wide_images",
            "--ambiguous", results / "ambiguous_images", "--output_dir", results.parent / "out"]  # fmt: skip
    folders = [results / f"task3_{sync}" for sync in tasks3]
    return submit.main([str(word) for word in [*argv, *(["--task3", *folders] if folders else []), *more]])


def pdf_of(results: Path, name: str = "Ada_Lovelace_20240001") -> PdfReader:
    return PdfReader(results.parent / "out" / f"{name}.pdf")


def zip_of(results: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(results.parent / "out" / "Ada_Lovelace_20240001.zip")


def text_of(pdf: PdfReader) -> str:
    return " ".join(" ".join(page.extract_text() for page in pdf.pages).split())


def change_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# ---------------------------------------------------------------------------------------------- what is handed in


def test_a_complete_submission_has_nothing_missing(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(results) == 0
    said = capsys.readouterr()
    assert "MISSING" not in said.out and "Complete" in said.out and not said.err
    assert said.out.count("a picture of each of the 10 prompts") == 5


def test_task_3_is_optional(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(results, tasks3=()) == 0
    assert "Task 3" not in capsys.readouterr().out and "Task 3" not in text_of(pdf_of(results))


def test_the_pdf_has_every_prompt_score_setting_and_picture(results: Path) -> None:
    run(results)
    pdf = pdf_of(results)
    text = text_of(pdf)
    for request in [*STRIPS, *VIEWS]:
        assert " | ".join(request.prompts) in text
    assert all(f"at {position} (0.3000)" in text for entry in WIDE.values() for position in entry["eval_pos"])
    for said in ("Ada Lovelace 20240001", "Task 1: wide images", "Task 2: ambiguous images", "(eps), task3_eps",
                 "owner/weights (c0ffee)", "Seed: 7", "num_inference_steps 50", "overall", "10 of 10", "5 of 5",
                 "1234abc"):  # fmt: skip
        assert said in text, said
    assert {(round(float(page.mediabox.width)), round(float(page.mediabox.height))) for page in pdf.pages} == {
        (595, 842)
    }
    pictures = len(STRIPS) * (1 + 8) + 4 * len(VIEWS) * 3
    assert sum(len(page.images) for page in pdf.pages) == pictures


def test_the_pdf_shows_eval_json_as_it_is(results: Path) -> None:
    run(results)
    shown = re.sub(r"\s", "", "".join(page.extract_text() for page in pdf_of(results).pages))
    for folder in ("wide_images", "ambiguous_images", "task3_xt"):
        content = re.sub(r"\s", "", (results / folder / "eval.json").read_text())
        start, end = content[:40], content[-40:]
        assert start in shown and end in shown and all(line in shown for line in content.split(",")[1:-1])


def test_the_zip_has_the_code_the_pictures_and_the_pdf(results: Path) -> None:
    run(results)
    archive = zip_of(results)
    names = set(archive.namelist())
    assert archive.testzip() is None and len(names) == len(archive.namelist())
    code = {name for name in names if "images/" not in name and not name.startswith("task3/")}
    assert code == {"Ada_Lovelace_20240001.pdf", "main.py", "guidance/a.py", "data/models/m/config.json", ".gitignore",
                    "data/wide_image_prompts.json", "data/ambiguous_image_prompts.json"}  # fmt: skip
    assert archive.read("main.py") == b"of main.py"
    assert archive.read("Ada_Lovelace_20240001.pdf")[:5] == b"%PDF-"
    for place, folder in (("wide_images", "wide_images"), ("task3/task3_x0", "task3_x0")):
        for path in (results / folder).iterdir():
            assert archive.read(f"{place}/{path.name}") == path.read_bytes()


def test_embedded_weights_go_in_on_demand(results: Path) -> None:
    run(results, "--with_models", tasks3=())
    assert zip_of(results).read("data/models/m/model.safetensors") == b"of data/models/m/model.safetensors"


def test_states_and_moving_pictures_stay_out(results: Path) -> None:
    folder = results / "wide_images"
    for name in ("a.safetensors", "a.gif"):
        (folder / name).write_text("large")
    extra = [{"file": "a.safetensors", "role": "latents"}, {"file": "a.gif", "role": "animation"}]
    change_json(folder / "run.json", lambda record: record["pictures"][0]["files"].extend(extra))
    assert run(results, tasks3=()) == 0
    assert not {"wide_images/a.safetensors", "wide_images/a.gif"} & set(zip_of(results).namelist())


def test_the_same_folders_give_the_same_pdf(results: Path) -> None:
    run(results, tasks3=())
    path = results.parent / "out" / "Ada_Lovelace_20240001.pdf"
    before = path.read_bytes()
    run(results, tasks3=())
    assert path.read_bytes() == before


def test_code_that_git_does_not_track_is_named(
    results: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "my_view.py").write_text("")
    assert run(results, tasks3=()) == 0
    assert "does not track it: my_view.py" in capsys.readouterr().out
    assert "my_view.py" not in zip_of(results).namelist()


def test_what_was_handed_in_before_is_no_code(results: Path, checkout: Path) -> None:
    for _ in range(2):
        run(results, "--output_dir", checkout, tasks3=())
        subprocess.run(["git", "add", "-A"], cwd=checkout, check=True)
    names = zipfile.ZipFile(checkout / "Ada_Lovelace_20240001.zip").namelist()
    assert [name for name in names if name.startswith("Ada")] == ["Ada_Lovelace_20240001.pdf"]


def test_tracked_links_that_lead_outside_stay_out(results: Path, checkout: Path) -> None:
    (checkout.parent / "secret").write_text("secret")
    (checkout / "link.py").symlink_to(checkout.parent / "secret")
    subprocess.run(["git", "add", "-A"], cwd=checkout, check=True)
    assert run(results, tasks3=()) == 0
    assert "link.py" not in zip_of(results).namelist()


# ---------------------------------------------------------------------------------------------- what is missing


def no_picture(results: Path) -> None:
    (results / "wide_images" / "A_beach_scene_at_sunrise_with_golden_sands.png").unlink()


def no_pair(results: Path) -> None:
    change_json(results / "ambiguous_images" / "run.json", lambda record: record["pictures"][1].update(status="failed"))


def other_crops(results: Path) -> None:
    def change(record: dict[str, Any]) -> None:
        for entry in record["pictures"][0]["files"]:
            if entry.get("position") == 2535:
                entry["position"] = 2534

    change_json(results / "wide_images" / "run.json", change)


def other_picture(results: Path) -> None:
    draw(results / "wide_images" / "A_beach_scene_at_sunrise_with_golden_sands_243.png", 99, (16, 16))


def damaged(results: Path) -> None:
    (results / "ambiguous_images" / "a_photo_of_a_duck-a_photo_of_a_rabbit.png").write_bytes(b"\x89PNG")


def not_scored(results: Path) -> None:
    (results / "ambiguous_images" / "eval.json").unlink()


def no_details(results: Path) -> None:
    (results / "ambiguous_images" / "eval_details.json").unlink()


def other_eval_json(results: Path) -> None:
    change_json(results / "ambiguous_images" / "eval.json", lambda content: content.update(score=0.9))


def no_hashes(results: Path) -> None:
    def change(details: dict[str, Any]) -> None:
        for row in details["pictures"]:
            del row["sha256"]

    change_json(results / "wide_images" / "eval_details.json", change)


def without_a_score(results: Path) -> None:
    for name in ("eval.json", "eval_details.json"):
        change_json(results / "wide_images" / name, lambda _: None)
    change_json(results / "wide_images" / "eval_details.json", lambda details: details["pictures"].pop(1))


def other_picture_scored(results: Path) -> None:
    row = {"file": "stranger.png", "prompt": "a stranger", "score": 0.3, "sha256": "0"}
    change_json(results / "wide_images" / "eval_details.json", lambda details: details["pictures"].append(row))


def embedded_scorer(results: Path) -> None:
    score(results / "wide_images", graded=False)


def embedded_models(results: Path) -> None:
    change_json(results / "wide_images" / "run.json", lambda record: record["model"].update(family="tiny"))


def other_views(results: Path) -> None:
    change_json(
        results / "ambiguous_images" / "run.json",
        lambda record: record["options"].update(views_names=["identity", "flip"]),
    )


def other_angle(results: Path) -> None:
    change_json(results / "task3_x0" / "run.json", lambda record: record["options"].update(rotate_angle=45.0))


def no_case(results: Path) -> None:
    change_json(results / "task3_x0" / "run.json", lambda record: record["options"].update(sync="eps"))


MISSING = {
    no_picture: ("a picture of 'A beach scene at sunrise with golden sands'", "main.py"),
    no_pair: ("a picture of 'a photo of a duck | a photo of a rabbit'", "main.py"),
    other_crops: ("crops of 'A sweeping panoramic view of the Grand Canyon at sunset' at 2535", "main.py"),
    other_picture: ("1 are newer than their scores", "eval.py"),
    damaged: ("a_photo_of_a_rabbit.png, which is not a picture", "rm "),
    not_scored: ("no eval.json", "eval.py"),
    no_details: ("no eval_details.json", "eval.py"),
    other_eval_json: ("of different runs of eval.py", "eval.py"),
    no_hashes: ("of an older eval.py", "eval.py"),
    without_a_score: ("1 have no score", "eval.py"),
    other_picture_scored: ("1 were scored and are not", "eval.py"),
    embedded_scorer: ("scores by the course's CLIP, ViT-B/32 of OpenAI", "eval.py"),
    embedded_models: ("pictures by the course's models", "main.py"),
    other_views: ("--views_names identity rotate_cw: the folder was made with identity flip", "main.py"),
    other_angle: ("--rotate_angle 90: the folder was made with 45", "main.py"),
    no_case: ("a folder with --sync x0", "main.py"),
}


@pytest.mark.parametrize("spoil", MISSING, ids=lambda spoil: spoil.__name__)
def test_what_is_missing_is_named_with_its_remedy(
    spoil: Callable[[Path], None], results: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(results)
    assert run(results, tasks3=submit.CASES if spoil in (other_angle, no_case) else ()) == 1
    said = capsys.readouterr()
    lines = said.out.splitlines()
    item, remedy = MISSING[spoil]
    number = next(number for number, line in enumerate(lines) if "MISSING" in line and item in line)
    below = next(line for line in lines[number:] if "->" in line)
    assert remedy in below
    assert "INCOMPLETE" in said.err and said.err.count("\n") == 1
    assert f"{said.out.count('MISSING')} items" in said.err
    assert len(pdf_of(results).pages) > 5 and zip_of(results).testzip() is None  # written all the same
    monkeypatch.chdir(ROOT)
    check_remedies(re.findall(r"-> (.*)", said.out))


def check_remedies(remedies: list[str]) -> None:
    """Every remedy is a command that is understood."""
    assert remedies
    for remedy in remedies:
        words = shlex.split(remedy.split(" && ")[-1], comments=True)
        assert words[0] == "python"
        if words[1] == "main.py":
            app, given = parse(words[2:])
            assert len(app.requests(given)) == 10
        else:
            eval_script.make_parser().parse_args(words[2:])
            assert words[1] == "eval.py"


def test_a_folder_that_cannot_be_mended_is_made_anew_elsewhere(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embedded_models(results)
    embedded_scorer(results)
    run(results, tasks3=())
    remedies = [line for line in capsys.readouterr().out.splitlines() if "->" in line]
    assert "--model sd" in remedies[0] and "--tag wide_images_sd" in remedies[0]
    assert "eval.py" in remedies[1] and "wide_images_sd" in remedies[1]


@pytest.mark.parametrize(
    "value, whole, half", [(0.281, "10 of 10", "5 of 5"), (0.27, "5 of 10", "2.5 of 5"), (0.25, "0 of 10", "0 of 5")]
)
def test_points_are_those_of_the_assignments_table(results: Path, value: float, whole: str, half: str) -> None:
    for folder in ("wide_images", "task3_eps"):
        score(results / folder, value)
    run(results)
    overview = pdf_of(results).pages[0].extract_text()
    rows = re.findall(r"(0\.\d{4})\n(.+)", overview)
    assert rows[0] == (f"{value:.4f}", whole) and rows[2] == (f"{value:.4f}", half)


def test_scores_by_another_scorer_give_no_points(results: Path) -> None:
    score(results / "wide_images", 0.9, graded=False)
    run(results, tasks3=())
    assert "0.9000 no score that counts" in text_of(pdf_of(results))


# ---------------------------------------------------------------------------------------------- mistakes


def refused(results: Path, capsys: pytest.CaptureFixture[str], *more: object) -> str:
    with pytest.raises(SystemExit) as ending:
        run(results, *more)
    said = capsys.readouterr().err
    assert ending.value.code == 2 and said.startswith("submit.py: error: ") and said.count("\n") == 1
    assert not list(results.parent.glob("out/*"))
    return said


@pytest.mark.parametrize("option", ["--name", "--sid"])
@pytest.mark.parametrize("text", ["", " ", "../x", "a/b", "a\\b", ".hidden", "a\nb", "a:b", "\udc80", "x" * 300])
def test_names_that_are_no_file_names_are_refused(
    option: str, text: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "file name" in refused(results, capsys, f"{option}={text}")


@pytest.mark.parametrize(
    "name, file", [("김철수", "김철수_1"), ("Łukasz O'Neil-Ö", "Łukasz_O'Neil-Ö_1"), ("Jr. X", "Jr._X_1")]
)
def test_names_of_people_are_taken(results: Path, name: str, file: str) -> None:
    assert run(results, "--name", name, "--sid", "1", tasks3=()) == 0
    assert name in text_of(pdf_of(results, file))


def test_folders_that_do_not_fit_are_told(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not exist" in refused(results, capsys, "--wide", results / "nowhere")
    (results / "empty").mkdir()
    assert "no run.json" in refused(results, capsys, "--ambiguous", results / "empty")
    assert "not of wide_image" in refused(results, capsys, "--wide", results / "ambiguous_images")
    (results / "empty" / "run.json").write_text("{")
    assert "cannot be read" in refused(results, capsys, "--task3", results / "empty")
    assert "one name" in refused(results, capsys, "--task3", results / "task3_x0", results / "." / "task3_x0")


def test_links_in_a_folder_are_refused(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results.parent / "secret").write_text("{}")
    path = results / "wide_images" / "eval.json"
    path.unlink()
    path.symlink_to(results.parent / "secret")
    assert "is a link" in refused(results, capsys)


def test_outside_of_a_checkout_it_is_one_sentence(
    results: Path, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(checkout / ".git")
    assert "is no git checkout" in refused(results, capsys)


def test_a_place_that_cannot_be_written_is_told(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results.parent / "file").write_text("")
    assert "cannot be written" in refused(results, capsys, "--output_dir", results.parent / "file" / "x")


def test_nothing_heavy_is_imported_for_help() -> None:
    code = "import sys, submit; print([name for name in ('torch', 'reportlab') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------------------------------------- pages


PROMPTS = {
    "long": "a very long prompt with many words " * 150,
    "no spaces": "x" * 3000,
    "korean": "노을 지는 산맥의 사진",
    "chinese": "黄山的照片，日出时",
    "japanese": "夕焼けの山並みの写真",
    "greek and cyrillic": "φωτογραφία, фотография",
    "hebrew": "תמונה",
    "thai": "ภาพถ่าย",
    "markup": "<b>a & b</b> <font name='x'>",
    "control": "a \x07 bell",
    "emoji": "a 😀 and a 🦄",
}


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts_of_any_kind_are_shown(results: Path, name: str) -> None:
    prompt = PROMPTS[name]
    shutil.rmtree(results / "wide_images")
    score(make_folder(results / "wide_images", "wide_image", [PictureRequest((prompt,), {"eval_pos": [0]})], {}))
    assert run(results, tasks3=()) == 1
    shown = re.sub(r"\s", "", "".join(page.extract_text() for page in pdf_of(results).pages))
    wanted = re.sub(r"\s", "", prompt)
    expected = {"hebrew": "[U+05EAU+05DEU+05D5U+05E0U+05D4]", "control": "a[U+0007]bell", "emoji": "a[U+1F600]anda",
                "thai": "[U+0E20U+0E32U+0E1E"}  # fmt: skip
    if name in ("long", "no spaces"):  # over two pages, of which each has its footer
        assert shown.count(wanted[:20]) >= len(wanted) // 40 and "..." in shown
    else:
        assert expected.get(name, wanted) in shown


def test_characters_without_a_font_become_their_numbers() -> None:
    register_fonts()
    assert markup("a\u0e20\u0e32 b") == "a[U+0E20 U+0E32] b"
    assert markup("a < b") == "a &lt; b"
    assert markup("산").startswith('<font name="HYSMyeongJo-Medium">')


def place(width: int, height: int) -> Any:
    return _place(Image.new("RGB", (width, height), "red"), "")


@pytest.mark.parametrize("size", [(512, 512), (3072, 512), (512, 3072), (20000, 64), (1, 5000), (7, 7)])
def test_pictures_are_whole_and_stay_on_the_page(size: tuple[int, int]) -> None:
    shown = place(*size)
    assert shown.width <= WIDTH + 0.01 and shown.height <= 700
    assert shown.width / shown.height == pytest.approx(size[0] / size[1])
    inner = Image.open(io.BytesIO(shown.data))
    assert inner.width / inner.height == pytest.approx(size[0] / size[1], rel=0.05) or min(inner.size) < 20


def test_strips_are_as_wide_as_the_page() -> None:
    assert place(3072, 512).width == pytest.approx(WIDTH)
    assert Image.open(io.BytesIO(place(3072, 512).data)).width == 3072


def test_rows_are_filled_and_never_wider_than_the_page() -> None:
    shown = [place(512, 512) for _ in range(8)] + [place(3072, 512), place(1024, 512), place(512, 512)]
    rows = _rows(shown)
    assert [len(row) for row in rows] == [4, 4, 1, 2]
    assert list(itertools.chain(*rows)) == shown


def test_a_huge_strip_is_shown_whole_and_in_readable_parts(results: Path) -> None:
    folder = results / "wide_images"
    draw(folder / "A_beach_scene_at_sunrise_with_golden_sands.png", 1, (3200, 80))
    before = len(STRIPS) * 9 + 2 * len(VIEWS) * 3 - len(VIEWS) * 3
    assert run(results, tasks3=()) == 0
    pdf = pdf_of(results)
    text = text_of(pdf)
    assert all(f"part {number} of 7" in text for number in range(1, 8))
    assert sum(len(page.images) for page in pdf.pages) == before + 7
    assert WIDTH / 6 > READABLE_HEIGHT


def test_many_crops_go_over_several_pages(results: Path) -> None:
    shutil.rmtree(results / "wide_images")
    request = PictureRequest(("many",), {"eval_pos": list(range(120))})
    score(make_folder(results / "wide_images", "wide_image", [request], {}))
    run(results, tasks3=())
    text = text_of(pdf_of(results))
    assert all(f"at {position} (0.3000)" in text for position in range(120))


# ---------------------------------------------------------------------------------------------- with eval.py


def test_scores_of_eval_py_are_understood(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = results / "wide_images"
    assert eval_script.main(["--fdir1", str(folder), "--app", "wide_images", "--clip_model", "tiny"]) == 0
    assert run(results, tasks3=()) == 1
    said = capsys.readouterr().out
    assert said.count("MISSING") == 1 and "these are by 'tiny'" in said
    other_picture(results)
    run(results, tasks3=())
    assert "1 are newer than their scores" in capsys.readouterr().out
