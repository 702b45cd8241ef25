"""The drawn landscapes and the three scripts that train on them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import CLIPTokenizer

from training import train_landscapes, train_landscapes_decoder, train_landscapes_vae
from training.drawing.landscape_captions import PROMPTS, captions, vocabulary, words
from training.drawing.scenes import SCENES, _mesa, _palm, draw_pool, draw_strip
from training.drawing.strips import Strip
from training.networks import clip_text


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, list[float], list[float]]:
    """A folder that both scripts wrote at a tiny size, and their losses."""
    folder = tmp_path_factory.mktemp("landscapes")
    places = ["--checkpoint_dir", str(folder / "checkpoints"), "--output_dir", str(folder), "--device", "cpu"]
    tiny = ["--strips", "1", "--channels", "16", "16", "16", "--learning_rate", "5e-3", *places]
    vae = train_landscapes_vae.main(["--steps", "24", "--batch_size", "2", "--crop", "16", *tiny])
    unet = train_landscapes.main(["--steps", "24", "--batch_size", "4", *tiny])
    return folder / "landscapes", vae, unet


def load(folder: Path) -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(
        folder, safety_checker=None, feature_extractor=None, requires_safety_checker=False, use_safetensors=True
    )


@pytest.mark.parametrize("scene", SCENES)
def test_strips_are_pictures_that_depend_on_the_seed_alone(scene):
    first, again, other = draw_strip(scene, 3, 160), draw_strip(scene, 3, 160), draw_strip(scene, 4, 160)
    assert first.shape == (128, 160, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.std() > 20


def test_strips_look_alike_along_their_length_and_scenes_differ():
    pool = draw_pool(2, 512).astype(np.float64)
    assert pool.shape == (len(SCENES), 2, 128, 512, 3)
    halves = np.stack([pool[..., :256, :], pool[..., 256:, :]]).mean(axis=(2, 4))
    within = np.abs(halves[0] - halves[1]).mean(axis=(1, 2))
    between = np.abs(halves[0][:, None] - halves[1][None]).mean(axis=(2, 3)) + np.eye(len(SCENES)) * 255
    assert (within < between.min(axis=1)).all()


@pytest.mark.parametrize("scene", SCENES)
def test_seeds_give_compositions_that_differ_more_than_places_within_a_strip(scene):
    strips = np.stack([draw_strip(scene, seed, 1024) for seed in range(10)]).astype(np.float64)
    halves = np.stack([strips[:, :, :512], strips[:, :, 512:]]).mean(axis=3)
    within = np.abs(halves[0] - halves[1]).mean()
    between = np.abs(halves[0] - np.roll(halves[1], 1, axis=0)).mean()
    assert between > 1.15 * within


def test_a_palm_has_a_trunk_below_its_crown_and_nothing_beside_it():
    sand = (240, 200, 120)
    strip = Strip(np.random.default_rng(0), 128)
    strip.box(0, 0, 128, 128, sand)
    _palm(strip, (64, 118), 1.0)
    drawn = np.abs(strip.finish().astype(int) - sand).sum(axis=2) > 60
    crown, trunk, ground = drawn[36:66].any(axis=0), drawn[74:110], drawn[:, :20]
    assert crown.sum() > 40
    assert trunk.any(axis=1).all() and 4 < trunk.sum(axis=1).mean() < 14
    assert not ground.any()


def test_a_mesa_is_flat_on_top_steep_below_and_bright_on_the_left():
    strip = Strip(np.random.default_rng(0), 160)
    strip.box(0, 0, 160, 128, (0, 0, 255))
    _mesa(strip, (80, 30), (80, 104), 24, ((238, 132, 66), (204, 88, 48), (150, 54, 44)))
    picture = strip.finish().astype(int)
    rows = (picture[..., 0] > 100).sum(axis=1)
    assert not rows[:27].any() and not rows[106:].any()
    assert rows[30:78].min() > 44 and rows[30:78].max() < 60
    assert (np.diff(rows[82:103]) >= 0).all() and rows[102] > 80
    assert (picture[36:76, 62:70].sum(axis=2) > picture[36:76, 96:104].sum(axis=2) + 20).all()


def test_unknown_scenes_are_refused():
    with pytest.raises(KeyError):
        draw_strip("moon", 0, 64)


def test_every_word_of_the_captions_is_listed_once_and_is_one_token(tmp_path):
    groups = words()
    listed = [word for group in groups.values() for word in group]
    used = {word for scene in PROMPTS for caption in captions(scene) for word in caption.lower().split()}
    assert sorted(listed) == sorted(used)
    clip_text.write_tokenizer(tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    assert all(len(tokenizer.tokenize(word)) == 1 for word in listed)
    assert tokenizer("A BEACH").input_ids == tokenizer("a beach").input_ids


def test_every_caption_belongs_to_one_scene():
    assert PROMPTS.keys() == SCENES.keys()
    groups = [{caption.lower() for caption in captions(scene)} for scene in PROMPTS]
    assert len(set.union(*groups)) == sum(map(len, groups))


def test_captions_are_drawn_in_the_stated_shares():
    rng = np.random.default_rng(0)
    drawn = [train_landscapes.draw_caption("beach", rng) for _ in range(2000)]
    assert drawn.count("") / 2000 == pytest.approx(train_landscapes.EMPTY_CAPTION_SHARE, abs=0.03)
    assert drawn.count(PROMPTS["beach"]) / 2000 == pytest.approx(train_landscapes.OWN_PROMPT_SHARE, abs=0.05)
    assert set(drawn) <= {"", *captions("beach")}


@pytest.mark.parametrize("part", [1, 2], ids=["vae", "unet"])
def test_losses_are_finite_and_fall(trained, part):
    losses = trained[part]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.95 * losses[0]


def test_the_folder_draws_a_picture_through_diffusers(trained):
    pipeline = load(trained[0])
    pipeline.set_progress_bar_config(disable=True)
    draw = {"num_inference_steps": 2, "output_type": "np", "generator": torch.Generator().manual_seed(0)}
    image = pipeline("a beach at sunrise", **draw).images
    assert image.shape == (1, 128, 128, 3)
    assert np.isfinite(image).all()
    assert json.loads((trained[0] / "words.json").read_text()) == vocabulary()
    assert not list(trained[0].parent.glob("landscapes.*"))
    used = trained[0].parent / "checkpoints" / "landscapes-tokenizer" / "vocab.json"
    assert (trained[0] / "tokenizer" / "vocab.json").read_bytes() == used.read_bytes()


def test_latents_have_unit_deviation(trained):
    latents = train_landscapes.encode_scenes(load(trained[0]).vae, 1, "cpu")
    assert latents.shape == (len(SCENES), 1, 4, 32, train_landscapes.STRIP_WIDTH // 4)
    assert latents.float().std() == pytest.approx(1.0, abs=0.1)


def test_saved_weights_are_those_of_training(trained):
    tokenizer = load(trained[0]).tokenizer
    denoiser = train_landscapes.Denoiser(tokenizer, (16, 16, 16)).eval()
    ids = clip_text.tokenize(tokenizer, ["A beach scene at sunrise with golden sands", ""])
    with torch.no_grad():
        expected = denoiser.text_encoder(ids).last_hidden_state
        x_t, t = torch.randn(2, 4, 32, 32), torch.tensor([500, 20])
        v = denoiser(x_t, t, ids)
        train_landscapes.save_folder(denoiser, trained[0], trained[0] / "tokenizer")
        pipeline = load(trained[0])
        text, empty = pipeline.encode_prompt("a BEACH scene at sunrise with golden sands", "cpu", 1, True)
        ours = pipeline.unet(x_t, t, torch.cat([text, empty])).sample
    torch.testing.assert_close(torch.cat([text, empty]), expected)
    torch.testing.assert_close(ours, v, atol=1e-2, rtol=1e-2)


def test_finished_runs_resume_without_training_on(trained, tmp_path):
    checkpoints = trained[0].parent / "checkpoints"
    tiny = ["--steps", "24", "--strips", "1", "--channels", "16", "16", "16", "--checkpoint_dir", str(checkpoints)]
    losses = train_landscapes_vae.main([*tiny, "--output_dir", str(tmp_path), "--device", "cpu"])
    assert losses == trained[1]


def test_training_goes_on_from_the_weights_and_the_tokenizer_of_a_folder(trained, tmp_path):
    shutil.copytree(trained[0] / "vae", tmp_path / "landscapes" / "vae")
    places = ["--checkpoint_dir", str(tmp_path / "checkpoints"), "--output_dir", str(tmp_path), "--device", "cpu"]
    tiny = ["--steps", "1", "--batch_size", "2", "--strips", "1", "--channels", "16", "16", "16"]
    train_landscapes.main([*tiny, *places, "--learning_rate", "0", "--start_from", str(trained[0])])
    before, after = load(trained[0]), load(tmp_path / "landscapes")
    for part in ("unet", "text_encoder"):
        pairs = zip(getattr(before, part).parameters(), getattr(after, part).parameters(), strict=True)
        assert all(torch.equal(old, new) for old, new in pairs)
    for name in ("vocab.json", "merges.txt"):
        old, new = (folder / "tokenizer" / name for folder in (trained[0], tmp_path / "landscapes"))
        assert old.read_bytes() == new.read_bytes()


def test_the_decoder_learns_on_and_the_encoder_stays(trained, tmp_path):
    before = AutoencoderKL.from_pretrained(trained[0] / "vae")
    before.register_to_config(scaling_factor=0.5)
    before.save_pretrained(tmp_path / "landscapes" / "vae")
    places = ["--checkpoint_dir", str(tmp_path / "checkpoints"), "--output_dir", str(tmp_path), "--device", "cpu"]
    tiny = ["--steps", "40", "--batch_size", "4", "--crop", "4", "--strips", "1", "--learning_rate", "2e-3"]
    losses = train_landscapes_decoder.main([*tiny, *places])
    assert np.isfinite(losses).all()
    after = AutoencoderKL.from_pretrained(tmp_path / "landscapes" / "vae")
    latents = torch.from_numpy(np.load(next((tmp_path / "checkpoints").glob("*.npy"))))
    strips = draw_pool(1, train_landscapes.STRIP_WIDTH)
    crops, images = train_landscapes_decoder.draw_pairs(latents, strips, 44, 8, np.random.default_rng(0))
    with torch.no_grad():
        decoded = [vae.decode(crops / vae.config.scaling_factor).sample for vae in (before, after)]
    loss_before, loss_after = (train_landscapes_decoder.decoding_loss(pictures, images, 4) for pictures in decoded)
    assert loss_after < 0.98 * loss_before
    assert after.config.scaling_factor == 0.5
    learned = dict(after.named_parameters())
    changed = {
        name.split(".")[0] for name, weight in before.named_parameters() if not torch.equal(weight, learned[name])
    }
    assert changed == {"decoder", "post_quant_conv"}


def test_crops_of_latents_and_pixels_show_the_same_place():
    scale, cells = 4, 12
    numbers = torch.arange(2 * 3 * cells).view(2, 3, 1, 1, cells)
    latents = numbers.expand(2, 3, 4, 5, cells).half()
    strips = numbers.repeat_interleave(scale, dim=-1).view(2, 3, 1, cells * scale, 1)
    strips = strips.expand(2, 3, 5 * scale, cells * scale, 3).numpy().astype(np.uint8)
    crops, images = train_landscapes_decoder.draw_pairs(latents, strips, 16, 6, np.random.default_rng(0))
    assert crops.shape == (16, 4, 5, 6)
    assert images.shape == (16, 3, 5 * scale, 6 * scale)
    seen = (images[:, :1, ::scale, ::scale] + 1) * 127.5
    torch.testing.assert_close(seen.expand_as(crops), crops)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_grid_shows_in_the_profile_of_its_axis_and_adds_to_the_loss(dim, monkeypatch):
    cells = torch.rand(3, 3, 6, 6)
    blocks = cells.repeat_interleave(4, 2).repeat_interleave(4, 3)
    profile = train_landscapes_decoder.grid_profile(blocks.diff(dim=dim).abs(), dim, 4)
    torch.testing.assert_close(profile, torch.tensor([[0.0, 0.0, 0.0, 4.0]]).expand(3, 4))
    even = torch.linspace(-1, 1, 24).view([-1 if axis == dim else 1 for axis in range(4)]).expand(3, 3, 24, 24)
    flat = train_landscapes_decoder.grid_profile(even.diff(dim=dim).abs(), dim, 4)
    torch.testing.assert_close(flat, torch.ones(3, 4))
    assert train_landscapes_decoder.decoding_loss(even, even, 4) == 0
    stepped = even + 0.01 * (torch.arange(24) // 4 % 2).view([-1 if axis == dim else 1 for axis in range(4)])
    loss = train_landscapes_decoder.decoding_loss(stepped, even, 4)
    monkeypatch.setattr(train_landscapes_decoder, "GRID_WEIGHT", 0.0)
    assert loss > 1.1 * train_landscapes_decoder.decoding_loss(stepped, even, 4)
