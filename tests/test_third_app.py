"""A third app is one model file, one app file and one line: the toy in ``tests/third_app`` goes through everything."""

import json
from pathlib import Path

import pytest
from PIL import Image
from safetensors.numpy import load_file

import eval as evaluation
import guidance
import main
from tests import runs

one_thread = runs.one_thread
FILES = Path(__file__).parent / "third_app"
PROMPTS = ["a photo of the letter N", "a photo of the letter Z", "a photo of the letter M"]
STEM = "-".join(prompt.replace(" ", "_") for prompt in PROMPTS)
LETTERS = {"a": ("N", "Z", "M"), "b": ("S", "O", "X")}


@pytest.fixture(autouse=True)
def totem(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two files, as if they lay in ``guidance/``, and the one line."""
    monkeypatch.setattr(guidance, "__path__", [*guidance.__path__, str(FILES)])
    monkeypatch.setitem(guidance.APPS, "totem", "totem_app:TotemApp")


def argv(top: Path, *extra: object) -> list[str]:
    given = ["--app", "totem", "--model", "tiny", "--device", "cpu", "--dtype", "float32", "--num_inference_steps", 2,
             "--save_top_dir", top, "--tag", "t", *extra]  # fmt: skip
    return [str(word) for word in given]


@pytest.fixture(scope="module")
def prompts_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("totem") / "prompts.json"
    places = ("top", "middle", "bottom")
    entries = {
        name: dict(zip(places, (f"a photo of the letter {letter}" for letter in letters), strict=True))
        for name, letters in LETTERS.items()
    }
    path.write_text(json.dumps(entries))
    return path


def test_help_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (["--help"], ["--app", "totem", "--help"]):
        with pytest.raises(SystemExit) as ending:
            main.main(line)
        text = " ".join(capsys.readouterr().out.split())
        assert ending.value.code == 0 and "--lean" in text and "quarter turns between faces (0 to 3)" in text
    assert "if: 7.0" in text and "--style" not in text


def test_its_options_are_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "ambiguous_image" in runs.refused(capsys, argv(tmp_path, "--style", "an oil painting of"))
    assert "0 to 3" in runs.refused(capsys, argv(tmp_path, "--lean", 4))
    assert "2 prompts for 3 faces" in runs.refused(capsys, argv(tmp_path, "--prompts", "the letter N", "the letter Z"))


def test_one_picture_with_its_states_and_previews(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(argv(tmp_path, "--prompts", *PROMPTS, "--save_latents", "--log_step", 1)) == 0
    folder = tmp_path / "t"
    assert f"{folder / STEM}.png" in capsys.readouterr().out
    assert Image.open(folder / f"{STEM}.png").size == (32, 64)
    assert (folder / f"{STEM}.txt").read_bytes() == b"three faces"
    assert load_file(folder / f"{STEM}.safetensors")["canvas"].shape == (1, 3, 64, 32)
    assert Image.open(folder / "previews" / STEM / "stage_1_step_0002.png").size == (32, 64)
    run = runs.run_json(folder)
    assert run["app"] == "totem" and run["options"]["lean"] == 1 and run["pictures"][0]["height"] == 2


def test_a_batch_is_resumed_with_the_same_bytes(tmp_path: Path, prompts_file: Path) -> None:
    line = argv(tmp_path, "--prompts_file", prompts_file)
    assert main.main(line) == 0
    before = runs.contents(tmp_path / "t")
    assert len(before) == 2 * 4
    lost = sorted(before)[2]
    (tmp_path / "t" / lost).unlink()
    assert main.main(line) == 0
    assert runs.contents(tmp_path / "t") == before


def test_the_best_is_kept_scored_and_animated(tmp_path: Path) -> None:
    line = argv(tmp_path, "--prompts", *PROMPTS, "--num_samples", 2, "--keep_best", "--animate", "gif")
    assert main.main(line) == 0
    folder = tmp_path / "t"
    (picture,) = runs.run_json(folder)["pictures"]
    assert [row["seed"] for row in picture["samples"]] == [1, 2]
    assert evaluation.main(["--fdir1", str(folder), "--app", "totems"]) == 0
    details = json.loads((folder / "eval_details.json").read_text())
    assert [row["prompt"] for row in details["pictures"]] == PROMPTS
    best = max(row["score"] for row in picture["samples"])
    assert min(row["score"] for row in details["pictures"]) == pytest.approx(best, abs=1e-4)
    assert Image.open(folder / f"{STEM}.gif").is_animated
    assert main.main(["--app", "totem", "--animate_from", str(folder), "--animate", "webp"]) == 0
    assert Image.open(folder / f"{STEM}.webp").is_animated


def test_its_folder_has_a_page_to_look_at(tmp_path: Path) -> None:
    assert main.main(argv(tmp_path, "--prompts", *PROMPTS, "--report", "--animate", "gif")) == 0
    folder = tmp_path / "t"
    page = (folder / "report.html").read_text()
    assert all(name in page for name in (f"{STEM}.png", f"{STEM}_0.png", f"{STEM}.gif", "--lean"))
    before = len(page)
    assert evaluation.main(["--fdir1", str(folder), "--app", "totems", "--report"]) == 0
    assert len((folder / "report.html").read_text()) > before  # scores have come


def test_another_app_does_not_take_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(argv(tmp_path, "--prompts", *PROMPTS)) == 0
    assert "--app totem" in runs.refused(capsys, ["--app", "wide_image", "--animate_from", str(tmp_path / "t")])


def test_from_python() -> None:
    pipe = guidance.load_pipeline("totem", model="tiny", device="cpu", dtype="float32", num_inference_steps=2)
    out = pipe(PROMPTS, seed=3)
    assert {f"{STEM}", f"{STEM}_0", f"{STEM}_1", f"{STEM}_2"} == out.images.keys()
    assert [state.preview().size for state in pipe.steps(PROMPTS, seed=3)] == [(32, 64)] * 2
