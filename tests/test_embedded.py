"""The models that ship: complete, small, honest about their words, and really trained."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import eval as evaluation
import main
from guidance.ambiguous_image_app import read_view_prompts, view_prompts
from guidance.networks.denoisers import Conditioning
from guidance.networks.stable_diffusion import load_stable_diffusion
from guidance.shared_options import EMBEDDED
from guidance.wide_image_app import WideImageOptions, read_strip_prompts
from tests import runs
from training.drawing.landscape_captions import PROMPTS
from training.drawing.scenes import draw_strip
from utils.models.model_source import open_source
from utils.models.runtime import Runtime
from utils.options import options_of
from utils.scoring.clip_files import find_clip
from utils.scoring.clip_model import ClipScorer
from utils.scoring.clip_score import cosine_matrix
from utils.vocabulary import Vocabulary

DATA = EMBEDDED.parent
MEBIBYTE = 2**20


def words_of(name: str) -> Vocabulary:
    return Vocabulary.from_json(json.loads((EMBEDDED / name / "words.json").read_text()))


def test_the_files_are_small_and_hold_no_pickle() -> None:
    files = [path for path in EMBEDDED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 60 * MEBIBYTE
    assert max(path.stat().st_size for path in files) < 16 * MEBIBYTE
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".txt", ".model", ".md"}


def test_every_shipped_prompt_is_known() -> None:
    for entry in read_strip_prompts(DATA / "wide_image_prompts.json").values():
        assert words_of("landscapes").doubts(entry["prompt"]) == []
    assert words_of("landscapes").doubts("A photo of a mountain range at twilight") == []
    pairs = [view_prompts(fields) for fields in read_view_prompts(DATA / "embedded_ambiguous_prompts.json").values()]
    assert len({frozenset(pair) for pair in pairs}) == len(pairs) == 10
    for prompt in (prompt for pair in pairs for prompt in pair):
        assert words_of("letters-stage-1").doubts(prompt) == []


@pytest.mark.parametrize(
    "argv",
    [["--app", "wide_image", "--prompt", "an elephant"], ["--app", "ambiguous_image", "--prompts", "a horse", "a dog"]],
)
def test_a_prompt_of_strange_words_ends_with_the_list(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = runs.refused(capsys, [*argv, "--model", "tiny", "--save_top_dir", str(tmp_path / "out")])
    assert "letter z" in sentence or "mountain" in sentence
    assert not (tmp_path / "out").exists()


def test_both_apps_run_from_nothing_and_are_scored_without_a_grade(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--model", "tiny", "--device", "cpu", "--num_inference_steps", "2", "--save_top_dir", str(tmp_path)]
    assert main.main(["--app", "wide_image", "--window_stride", "32", "--tag", "w", *few]) == 0
    assert main.main(["--app", "ambiguous_image", "--tag", "a", *few]) == 0
    assert Image.open(tmp_path / "w" / "A_photo_of_a_mountain_range_at_twilight.png").size == (768, 128)
    assert Image.open(tmp_path / "a" / "an_oil_painting_of_the_letter_N.png").size == (128, 128)
    for tag, app in (("w", "wide_images"), ("a", "ambiguous_images")):
        assert evaluation.main(["--fdir1", str(tmp_path / tag), "--app", app]) == 0
        assert "Grade" not in capsys.readouterr().out
        assert json.loads((tmp_path / tag / "eval_details.json").read_text())["grade"] is None


def test_of_a_huge_prompt_the_warning_shows_a_part(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    short = ["--app", "wide_image", "--panorama_width", "192", "--num_inference_steps", "1", "--eval_pos", "0"]
    assert main.main([*short, "--prompt", "a desert " * 1000, "--save_top_dir", str(tmp_path)]) == 0
    (said,) = [record.getMessage() for record in caplog.records if "tokens count" in record.getMessage()]
    assert "a desert" in said and said.endswith("...") and len(said) < 300


def test_the_scorer_tells_fresh_drawings_of_all_scenes_apart() -> None:
    scorer = ClipScorer(find_clip("tiny", None))
    crops = [Image.fromarray(draw_strip(scene, 7, 256)[:, :128]) for scene in PROMPTS]
    cosines = cosine_matrix(
        scorer.image_features([scorer.prepare(crop) for crop in crops]), scorer.text_features(list(PROMPTS.values()))
    )
    assert (cosines.argmax(axis=1) == np.arange(len(crops))).mean() > 0.8


@torch.no_grad()
def test_the_landscapes_network_predicts_noise_better_when_told_the_scene() -> None:
    source = open_source(str(EMBEDDED / "landscapes"), options_of(WideImageOptions)["sd_path"].weights, None, "sd_path")
    model = load_stable_diffusion(source, Runtime(torch.device("cpu")))
    embeddings = model.text.encode_prompts(["", *PROMPTS.values()])
    generator = torch.Generator().manual_seed(0)
    losses = {"right": [], "wrong": []}
    prompts = list(PROMPTS.values())
    for index, scene in enumerate(PROMPTS):
        picture = torch.tensor(draw_strip(scene, 3, 128)).permute(2, 0, 1)[None] / 127.5 - 1
        latents = model.space.encode(picture)
        eps = torch.randn(latents.shape, generator=generator)
        abar = model.denoiser.alphas_cumprod[600].float()
        x_t = abar.sqrt() * latents + (1 - abar).sqrt() * eps
        for kind, told in (("right", prompts[index]), ("wrong", prompts[index - 3])):
            conditioning = Conditioning(embeddings[told], embeddings[""])
            predicted = model.denoiser.predict_eps(x_t, 600, conditioning, 1.0, 1)
            losses[kind].append(((predicted - eps) ** 2).mean().item())
    assert np.mean(losses["right"]) < 0.7 * np.mean(losses["wrong"])
