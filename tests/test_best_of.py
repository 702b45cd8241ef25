"""Several samples per prompt, and the best of them: seeds, names, bytes, scores, resuming, refusals."""

import json
import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eval as evaluation
import main
from guidance import get_app, pipeline
from guidance.ambiguous_image_model import AmbiguousImageModel
from guidance.wide_image_model import WideImageModel
from tests import runs
from tests.analytic import ambiguous_options
from utils.run.writer import Sample
from utils.scoring.best_of import choose_best
from utils.scoring.clip_files import ClipSource, find_clip
from utils.scoring.clip_model import ClipScorer

one_thread, read_once, fast_wide, no_weights = runs.one_thread, runs.read_once, runs.fast_wide, runs.no_weights
strip_score, views_score = get_app("wide_image").sample_score, get_app("ambiguous_image").sample_score
PAIR = ["--style", "", "--prompts", "a b", "c"]
BEST = ["--num_samples", 3, "--keep_best"]


class RedScorer(ClipScorer):
    """Stands for CLIP: a picture fits any prompt the better, the redder it is."""

    def __init__(self, source: ClipSource | None = None):
        self.source = source

    def prepare(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image, dtype=np.float64).mean(axis=(0, 1)) + 1e-9

    def image_features(self, prepared: Iterable[np.ndarray]) -> np.ndarray:
        return np.stack(list(prepared))

    def text_features(self, prompts: Sequence[str]) -> np.ndarray:
        return np.tile([1.0, 0.0, 0.0], (len(prompts), 1))


@pytest.fixture
def red(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Runs find and load the stand-in for CLIP; returned is its weights file."""
    weights = tmp_path / "red.bin"
    weights.write_bytes(b"red")
    monkeypatch.setattr(pipeline, "find_clip", lambda model, pretrained: ClipSource("red", "test", weights))
    monkeypatch.setattr("utils.scoring.clip_model.ClipScorer", RedScorer)
    return weights


def square(red: int, green: int) -> Image.Image:
    return Image.new("RGB", (8, 8), (red, green, 0))


def cosine(red: int, green: int) -> float:
    return red / float(np.hypot(red, green))


# ---------------------------------------------------------------------------------------------- the score


def test_an_ambiguous_picture_counts_by_its_worst_view() -> None:
    views = [(square(3, 4), "a", "view"), (square(4, 3), "b", "view")]
    assert views_score(RedScorer(), views) == pytest.approx(cosine(3, 4))
    assert views_score(RedScorer(), views[::-1]) == pytest.approx(cosine(3, 4))


def test_a_view_is_compared_with_its_own_prompt() -> None:
    class ByPrompt(RedScorer):
        def text_features(self, prompts: Sequence[str]) -> np.ndarray:
            return np.array([{"red": [1.0, 0, 0], "green": [0, 1.0, 0]}[prompt] for prompt in prompts])

    views = [(square(9, 0), "red", "view"), (square(0, 9), "green", "view")]
    assert views_score(ByPrompt(), views) == pytest.approx(1.0)


def test_a_strip_counts_by_the_mean_of_its_crops() -> None:
    pictures = [(square(0, 9), "a", "strip"), (square(3, 4), "a", "crop"), (square(4, 3), "a", "crop")]
    assert strip_score(RedScorer(), pictures) == pytest.approx((cosine(3, 4) + cosine(4, 3)) / 2)


def test_a_strip_without_crops_counts_by_those_at_the_default_positions() -> None:
    strip = Image.new("RGB", (16, 8), (0, 9, 0))
    strip.paste((9, 0, 0), (0, 0, 8, 8))
    expected = [cosine(8 - left, left) for left in (0, 1, 2, 3, 5, 6, 7, 8)]
    assert strip_score(RedScorer(), [(strip, "a", "strip")]) == pytest.approx(np.mean(expected))


def test_a_strip_higher_than_wide_counts_as_a_whole() -> None:
    strip = Image.new("RGB", (8, 16), (3, 4, 0))
    assert strip_score(RedScorer(), [(strip, "a", "strip")]) == pytest.approx(cosine(3, 4))


FILES = [
    {"file": "s.png", "role": "strip", "prompt": "a"},
    {"file": "c.png", "role": "crop", "prompt": "a", "position": 0},
    {"file": "s.safetensors", "role": "latents"},
]


def sample(seed: int, red: int) -> Sample:
    return Sample(seed, {"s.png": square(1, 1), "c.png": square(red, 9), "s.safetensors": b""})


def test_the_first_of_the_best_is_chosen_and_all_scores_are_told() -> None:
    best, rows = choose_best(
        partial(strip_score, RedScorer()), (sample(seed, red) for seed, red in enumerate([1, 7, 3, 7])), FILES
    )
    assert best.seed == 1
    assert [row["seed"] for row in rows] == [0, 1, 2, 3]
    assert [row["score"] for row in rows] == pytest.approx([cosine(red, 9) for red in (1, 7, 3, 7)])


def test_only_the_best_is_held_while_the_next_one_is_made() -> None:
    alive: list[weakref.ref] = []

    def make() -> Iterator[Sample]:
        for seed, red in enumerate([1, 7, 3, 2]):
            assert sum(reference() is not None for reference in alive) <= 1
            made = sample(seed, red)
            alive.append(weakref.ref(made))
            yield made
            del made

    assert choose_best(partial(strip_score, RedScorer()), make(), FILES)[0].seed == 1


# ---------------------------------------------------------------------------------------------- samples


def test_samples_equal_single_runs_with_their_seeds(sd_folder: Path, tmp_path: Path, fast_wide: list[str]) -> None:
    line = ["--prompt", "a b", "--eval_pos", 0, "--save_latents", "--eta", 0.5]
    assert main.main(runs.wide(sd_folder, tmp_path / "k", *line, "--seed", 5, "--num_samples", 3)) == 0
    folder = tmp_path / "k" / "t"
    pictures = runs.run_json(folder)["pictures"]
    assert [(picture["name"], picture["seed"]) for picture in pictures] == [
        (f"a_b_seed{seed}", seed) for seed in (5, 6, 7)
    ]
    for picture in pictures:
        top = tmp_path / str(picture["seed"])
        assert main.main(runs.wide(sd_folder, top, *line, "--seed", picture["seed"])) == 0
        (alone,) = runs.run_json(top / "t")["pictures"]
        for entry, other in zip(picture["files"], alone["files"], strict=True):
            assert runs.pixels(folder / entry["file"]) == runs.pixels(top / "t" / other["file"])
    assert len(set(runs.shown(folder).values())) == 6


def test_samples_of_an_ambiguous_picture_equal_single_runs(
    if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path
) -> None:
    folders = if_stage_1_folder, if_stage_2_folder
    assert main.main(runs.ambiguous(*folders, tmp_path / "k", *PAIR, "--num_samples", 2)) == 0
    assert main.main(runs.ambiguous(*folders, tmp_path / "1", *PAIR, "--seed", 2)) == 0
    samples, alone = runs.shown(tmp_path / "k" / "t"), runs.shown(tmp_path / "1" / "t")
    second = [entry["file"] for entry in runs.run_json(tmp_path / "k" / "t")["pictures"][1]["files"]]
    assert second == ["a_b_seed2.png", "c_seed2.png", "a_b_seed2-c_seed2.png"]
    assert [samples[name] for name in second] == [alone[name] for name in ("a_b.png", "c.png", "a_b-c.png")]


def test_more_samples_join_a_folder_and_a_stopped_run_goes_on(
    sd_folder: Path, tmp_path: Path, fast_wide: list[str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps({name: {"prompt": "same", "eval_pos": [0]} for name in "xy"}))
    argv = runs.wide(sd_folder, tmp_path / "out", "--prompts_file", file)
    assert main.main(argv) == 0
    first = runs.contents(tmp_path / "out" / "t")
    with monkeypatch.context() as patch:
        patch.setattr(WideImageModel, "render", runs.fail_on_call(WideImageModel.render, {2}, KeyboardInterrupt()))
        assert main.main([*argv, "--num_samples", "3"]) == 130
    capsys.readouterr()
    assert main.main([*argv, "--num_samples", "3"]) == 0
    assert "3 of 6 pictures to make" in capsys.readouterr().out
    pictures = runs.run_json(tmp_path / "out" / "t")["pictures"]
    assert [(p["name"], p["seed"], p["status"]) for p in pictures] == [
        (name, seed, "done")
        for name, seed in [
            ("same", 1),
            ("same~2", 1),
            ("same_seed2", 2),
            ("same_seed3", 3),
            ("same_seed2~2", 2),
            ("same_seed3~2", 3),
        ]
    ]
    assert first.items() <= runs.contents(tmp_path / "out" / "t").items()
    assert main.main([*argv, "--num_samples", "2"]) == 0
    assert "0 of 4 pictures to make" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------- the best


def test_the_best_strip_has_the_bytes_of_the_run_with_its_seed(
    sd_folder: Path, tmp_path: Path, fast_wide: list[str], red: Path
) -> None:
    line = ["--prompt", "a b", "--eval_pos", 0, 200, "--save_latents", "--log_step", 2]
    assert main.main(runs.wide(sd_folder, tmp_path / "k", *line, *BEST)) == 0
    folder = tmp_path / "k" / "t"
    run = runs.run_json(folder)
    (picture,) = run["pictures"]
    scores = {row["seed"]: row["score"] for row in picture["samples"]}
    assert list(scores) == [1, 2, 3] and len(set(scores.values())) == 3
    assert picture["seed"] == max(scores, key=scores.get) and picture["status"] == "done"
    assert run["scorer"]["model"] == "red test" and run["scorer"]["sha256"] == ClipSource("", "", red).sha256
    assert run["options"]["keep_best"] is True and run["options"]["num_samples"] == 3
    previews = sorted(path.relative_to(folder / "previews").as_posix() for path in folder.glob("previews/**/*.png"))
    assert previews == [f"a_b/seed_{seed}/stage_1_step_0002.png" for seed in (1, 2, 3)]
    for seed, score in scores.items():
        top = tmp_path / str(seed)
        assert main.main(runs.wide(sd_folder, top, *line, "--seed", seed)) == 0
        crops = [Image.open(path) for path in sorted((top / "t").glob("a_b_*.png"))]
        assert strip_score(RedScorer(), [(crop, "a b", "crop") for crop in crops]) == pytest.approx(score)
        for pattern in ("*.png", "*.safetensors"):
            same = runs.shown(top / "t", pattern) == runs.shown(folder, pattern)
            assert same == (seed == picture["seed"])


def test_the_best_pair_goes_on_where_it_stopped_and_is_then_left_alone(
    if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path, red: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pairs = {name: {"canonical_prompt": name, "instance_prompt": "c"} for name in "ab"}
    file = tmp_path / "pairs.json"
    file.write_text(json.dumps(pairs))
    argv = runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path, "--prompts_file", file, *BEST)
    with monkeypatch.context() as patch:
        render = runs.fail_on_call(AmbiguousImageModel.render, {5}, KeyboardInterrupt())
        patch.setattr(AmbiguousImageModel, "render", render)
        assert main.main(argv) == 130
    first, second = runs.run_json(tmp_path / "t")["pictures"]
    assert (first["status"], second["status"]) == ("done", "pending") and "samples" not in second
    assert len(runs.contents(tmp_path / "t")) == 3
    capsys.readouterr()
    assert main.main(argv) == 0
    assert "1 of 2 pictures to make" in capsys.readouterr().out
    before = runs.run_json(tmp_path / "t")
    assert before["pictures"][0] == first and len(runs.contents(tmp_path / "t")) == 6
    for picture in before["pictures"]:
        rows = picture["samples"]
        assert picture["seed"] == max(rows, key=lambda row: row["score"])["seed"]
        check_views(tmp_path / "t", picture)
    assert main.main(argv) == 0
    assert "0 of 2 pictures to make" in capsys.readouterr().out and runs.run_json(tmp_path / "t") == before


def check_views(folder: Path, picture: dict) -> None:
    """The written views have the score that was recorded for the chosen seed."""
    views = [(Image.open(folder / e["file"]), e["prompt"], "view") for e in picture["files"] if e["role"] == "view"]
    recorded = {row["seed"]: row["score"] for row in picture["samples"]}
    assert views_score(RedScorer(), views) == pytest.approx(recorded[picture["seed"]])


def test_the_best_is_made_again_when_its_file_is_gone(
    sd_folder: Path, tmp_path: Path, fast_wide: list[str], red: Path
) -> None:
    argv = runs.wide(sd_folder, tmp_path, "--prompt", "a", "--eval_pos", 0, *BEST)
    assert main.main(argv) == 0
    before, run = runs.contents(tmp_path / "t"), runs.comparable(runs.run_json(tmp_path / "t"))
    (tmp_path / "t" / "a_0.png").unlink()
    assert main.main(argv) == 0
    assert runs.contents(tmp_path / "t") == before and runs.comparable(runs.run_json(tmp_path / "t")) == run


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--num_samples", "0"], "--num_samples 0 is out of range"),
        (["--keep_best"], "--keep_best chooses among samples"),
        (["--num_samples", "2", "--seed", str(2**63 - 1)], "--seed"),
    ],
)
def test_options_that_do_not_fit(
    line: list[str], words: str, sd_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in runs.refused(capsys, runs.wide(sd_folder, tmp_path / "out", *line))
    assert not (tmp_path / "out").exists()


def test_the_seeds_follow_each_other() -> None:
    assert list(ambiguous_options(seed=7, num_samples=3).seeds) == [7, 8, 9]
    assert list(ambiguous_options(seed=7).seeds) == [7]


def test_a_folder_is_pinned_to_its_choice_and_not_to_its_number_of_samples() -> None:
    pinned = ambiguous_options(num_samples=3, seed=5, keep_best=True).pinned()
    assert (pinned["num_samples"], pinned["seed"], pinned["keep_best"]) == (3, 5, True)
    assert not {"num_samples", "seed", "keep_best"} & ambiguous_options(num_samples=3).pinned().keys()


def test_another_choice_is_refused(
    sd_folder: Path, tmp_path: Path, fast_wide: list[str], red: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = runs.wide(sd_folder, tmp_path, "--prompt", "a", "--eval_pos", 0)
    assert main.main([*argv, "--num_samples", "2", "--keep_best"]) == 0
    before = runs.contents(tmp_path / "t", "*")
    assert "--num_samples: there 2, now 3" in runs.refused(capsys, [*argv, *map(str, BEST)])
    assert "--keep_best: there True, now None" in runs.refused(capsys, [*argv, "--num_samples", "2"])
    red.write_bytes(b"redder")
    sentence = runs.refused(capsys, [*argv, "--num_samples", "2", "--keep_best"])
    assert "weights of the scorer" in sentence and "--keep_best" not in sentence
    assert runs.contents(tmp_path / "t", "*") == before


@pytest.mark.usefixtures("no_weights")
def test_a_scorer_that_cannot_be_had_is_one_sentence(
    sd_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = runs.refused(capsys, runs.wide(sd_folder, tmp_path / "out", *BEST))
    assert "--keep_best" in sentence and "hf download timm/vit_base_patch32_clip_224.openai" in sentence
    assert "--clip" not in sentence and not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_weights")
def test_samples_in_run_json_that_are_none_are_one_sentence(
    sd_folder: Path, tmp_path: Path, fast_wide: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    header = {"app": "wide_image", "options": {}, "model": {"family": "sd", "sources": {}}, "sessions": []}
    picture = {"name": "a", "prompts": ["a"], "eval_pos": [], "seed": 1, "status": "done", "files": []}
    (tmp_path / "t").mkdir()
    for samples in ([{}], 5, "x", {"seed": 1}):
        text = json.dumps({**header, "pictures": [{**picture, "samples": samples}]})
        (tmp_path / "t" / "run.json").write_text(text)
        assert "run.json cannot be read" in runs.refused(capsys, runs.wide(sd_folder, tmp_path))


def test_the_scorer_depends_on_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple] = []
    monkeypatch.setattr(pipeline, "find_clip", lambda *names: asked.append(names))
    pipeline.find_scorer("tiny"), pipeline.find_scorer("sd"), pipeline.find_scorer("deepfloyd")
    assert asked == [("tiny", None), (None, None), (None, None)]


# ---------------------------------------------------------------------------------------------- embedded


def test_the_embedded_scorer_chooses_and_eval_agrees(tmp_path: Path) -> None:
    argv = ["--app", "ambiguous_image", "--model", "tiny", "--device", "cpu", "--num_inference_steps", "2"]
    argv += ["--save_top_dir", str(tmp_path), "--tag", "t", "--num_samples", "2", "--keep_best"]
    assert main.main(argv) == 0
    run = runs.run_json(tmp_path / "t")
    assert run["scorer"] == {"model": "tiny", "sha256": find_clip("tiny", None).sha256}
    (picture,) = run["pictures"]
    assert evaluation.main(["--fdir1", str(tmp_path / "t"), "--app", "ambiguous_images"]) == 0
    details = json.loads((tmp_path / "t" / "eval_details.json").read_text())
    assert details["clip"]["sha256"] == run["scorer"]["sha256"]
    assert details["alignment"] == pytest.approx(max(row["score"] for row in picture["samples"]), abs=1e-5)
