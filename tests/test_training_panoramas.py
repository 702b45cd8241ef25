"""The drawn panoramas, their captions, and the script that trains on them."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import CLIPTokenizer

from training import (
    train_landscapes,
    train_landscapes_vae,
    train_panoramas,
    train_panoramas_decoder,
    train_panoramas_vae,
)
from training.drawing import landscape_captions, panorama_scenes
from training.drawing.panorama_captions import DIRECTIONS, PROMPTS, WORDING, point
from training.drawing.panorama_scenes import PITCHES, POSES, SCENES, draw_camera, draw_panorama, draw_view
from training.drawing.spheres import LATTICE, Lying, Plane, Sphere, Spot
from training.measure import judge, panorama_judge
from training.networks import clip_text
from utils.sphere import Camera, canvas_directions
from utils.vocabulary import Vocabulary

TINY = (16, 16, 16)


@pytest.fixture(scope="module")
def landscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained landscapes model of a tiny size."""
    folder = tmp_path_factory.mktemp("start") / "landscapes"
    torch.manual_seed(0)
    train_landscapes_vae.build_vae(TINY).save_pretrained(folder / "vae")
    clip_text.write_tokenizer(folder / "tokenizer")
    denoiser = train_landscapes.Denoiser(CLIPTokenizer.from_pretrained(folder / "tokenizer"), TINY)
    train_landscapes.save_folder(denoiser, folder, folder / "tokenizer")
    return folder


@pytest.fixture(scope="module")
def trained(landscapes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float], list[float]]:
    """A folder that both scripts wrote at a tiny size, and their losses; fewer poses than usual."""
    folder = tmp_path_factory.mktemp("panoramas")
    with pytest.MonkeyPatch.context() as patched:
        few_views(patched)
        vae = train_panoramas_vae.main([*arguments(landscapes, folder), "--batch_size", "2", "--crop", "16"])
        unet = train_panoramas.main([*arguments(landscapes, folder), "--batch_size", "4"])
    return folder / "panoramas", vae, unet


def few_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the scripts draw small panoramas, seen by a camera in each direction."""
    monkeypatch.setattr(panorama_scenes, "POSES", dict.fromkeys(PITCHES, 1))
    for script in (train_panoramas, train_panoramas_vae):
        monkeypatch.setattr(script, "draw_views", partial(panorama_scenes.draw_views, height=64))


def arguments(landscapes: Path, folder: Path, steps: int = 24) -> list[str]:
    places = {"checkpoint_dir": folder / "checkpoints", "output_dir": folder, "start_from": landscapes}
    told = {"steps": steps, "panoramas": 1, "learning_rate": 5e-3, "device": "cpu", **places}
    return [part for name, value in told.items() for part in (f"--{name}", str(value))]


@pytest.mark.parametrize("scene", SCENES)
def test_panoramas_are_pictures_that_depend_on_the_seed_alone(scene: str) -> None:
    first, again, other = (draw_panorama(scene, seed, 64) for seed in (3, 3, 4))
    assert first.shape == (64, 128, 3) and first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    bands = [first[rows].mean((0, 1)) for rows in (slice(0, 16), slice(48, 64))]
    assert first.std() > 25 and np.abs(bands[0] - bands[1]).max() > 30


@pytest.mark.parametrize("scene", SCENES)
def test_panoramas_close_at_the_edge_and_at_both_poles(scene: str) -> None:
    for picture in (draw_panorama(scene, seed, 256).astype(np.float64) for seed in (0, 1)):
        steps = np.abs(np.diff(picture, axis=1, append=picture[:, :1])).mean((0, 2))
        assert steps[-1] < steps.mean() + 4 * steps.std()
        for row in (picture[0], picture[-1]):
            assert np.abs(row - row.mean(0)).max() < 40


def test_unknown_scenes_are_refused() -> None:
    with pytest.raises(KeyError):
        draw_panorama("moon", 0, 32)


def test_things_are_drawn_where_they_stand_and_lie() -> None:
    sphere, red = Sphere(np.random.default_rng(0), 128), (255, 0, 0)
    sphere.box(Spot(np.pi, 5.0), -1, -1, 1, 1, red)
    sphere.ellipse(Lying(0.5, 1.0), (0, 0), (0.2, 0.2), red)
    seen = sphere.finish()[..., 0] > 200
    straight = canvas_directions(128)[seen]
    behind = straight[straight[:, 2] < 0]
    assert len(behind) > 100 and np.abs(behind[:, :2] / -behind[:, 2:]).max() < 1.1 / 5
    below = straight[straight[:, 2] > 0]
    at = below[:, ::2] / -below[:, 1:2] - (np.sin(0.5), np.cos(0.5))
    assert len(below) > 20 and np.hypot(*at.T).max() < 0.28


def test_textures_of_the_ground_are_finite_and_fade_far_off() -> None:
    plane = Plane(Sphere(np.random.default_rng(0), 64))
    assert plane.reach.min() < 0.1 and np.isfinite(plane.places).all()
    assert plane.fade(0.3)[-1].min() == 1 and plane.fade(0.3)[0].max() == 0
    dots, keys = plane.scatter(0.5, 0.3)
    along, across, stones = plane.rings(0.3)
    assert 0.1 < dots[-24:].mean() < 0.5 and dots[0].max() == 0
    assert max(np.abs(along).max(), np.abs(across).max()) <= 1 and min(keys.min(), stones.min()) >= 0
    assert plane.noise(0.4, 3)[0].std() < 1e-6 < plane.noise(0.4)[-16:].std()


def test_noise_is_smooth_repeats_and_has_no_edge() -> None:
    places = np.random.default_rng(1).uniform(-40, 40, (200, 3)).astype(np.float32)
    values = [Sphere(np.random.default_rng(0), 16).noise(places + shift) for shift in (0, 1e-3, LATTICE)]
    assert np.abs(values[0] - values[1]).max() < 0.01 and np.abs(values[0] - values[2]).max() < 1e-3
    assert values[0].std() > 0.1


def test_views_show_the_panorama_upright() -> None:
    directions = canvas_directions(128)
    panorama = ((directions + 1) * 127.5).astype(np.uint8)
    level, up = (draw_view(panorama, Camera(90, pitch, 90), 32) for pitch in (0, 90))
    assert level.shape == (32, 32, 3) and level.dtype == np.uint8
    assert level[16, 16, 0] > 250 and up[16, 16, 1] > 250
    assert level[0, 16, 1] > 200 and level[-1, 16, 1] < 60


def test_cameras_look_in_their_direction() -> None:
    assert tuple(PITCHES) == tuple(POSES) == DIRECTIONS
    cameras = [draw_camera(direction, np.random.default_rng(seed)) for direction in PITCHES for seed in range(20)]
    away = np.abs(np.repeat(list(PITCHES.values()), 20) - [camera.pitch for camera in cameras])
    assert away.max() <= 8 and len({camera.yaw for camera in cameras[:20]}) == 20
    assert all(84 <= camera.fov <= 96 for camera in cameras)


def test_every_word_of_the_captions_is_one_token_and_known(tmp_path) -> None:
    groups = WORDING.words()
    listed = [word for group in groups.values() for word in group]
    assert len(set(listed)) == len(listed) and {"looking", "up", "straight"} <= set(listed)
    clip_text.write_tokenizer(tmp_path, WORDING)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    assert all(len(tokenizer.tokenize(word)) == 1 for word in [*listed, ","])
    vocabulary = Vocabulary.from_json(WORDING.vocabulary())
    for scene in PROMPTS:
        for caption in WORDING.captions(scene):
            for direction in DIRECTIONS:
                assert vocabulary.doubts(point(caption, direction)) == []
                assert len(tokenizer(point(caption, direction)).input_ids) < clip_text.MAX_LENGTH


def test_every_caption_belongs_to_one_scene() -> None:
    assert PROMPTS.keys() == SCENES.keys() == WORDING.titles.keys()
    groups = [{caption.lower() for caption in WORDING.captions(scene)} for scene in PROMPTS]
    assert len(set.union(*groups)) == sum(map(len, groups))
    vocabulary = Vocabulary.from_json(WORDING.vocabulary())
    for scene, names in WORDING.names.items():
        assert all(name in " ".join(WORDING.captions(scene)).lower() for name in names)
        assert vocabulary.doubts(names[0]) == []


def test_directions_follow_a_caption_but_not_an_empty_one() -> None:
    assert point("a beach", "looking up") == "a beach, looking up"
    assert point("a beach", "") == "a beach" and point("", "looking up") == ""


def test_views_lie_in_the_order_of_poses_and_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panorama_scenes, "POSES", {"": 1, "straight down": 2})
    views = panorama_scenes.draw_views(3, 64)
    assert panorama_scenes.directions() == ["", "straight down", "straight down"]
    assert views.shape == (3, len(SCENES), 128, 128, 3) and views.dtype == np.uint8
    for scene, shown in zip(SCENES, views[1].astype(np.float64).mean((1, 2)), strict=True):
        straight = draw_view(draw_panorama(scene, 3, 64), Camera(0, -90, 90), 32).astype(np.float64).mean((0, 1))
        assert np.abs(shown - straight).max() < 20


def test_batches_say_what_the_latents_show() -> None:
    shape = (2, len(panorama_scenes.directions()), len(SCENES))
    numbers = torch.arange(int(np.prod(shape))).view(*shape, 1, 1, 1)
    views, texts = train_panoramas.draw_batch(numbers, 400, np.random.default_rng(0))
    texts_of = {scene: WORDING.captions(scene) for scene in SCENES}
    for number, text in zip(views.flatten().long().tolist(), texts, strict=True):
        direction = panorama_scenes.directions()[number // len(SCENES) % shape[1]]
        allowed = {point(caption, direction) for caption in texts_of[list(SCENES)[number % len(SCENES)]]}
        assert text in {"", *allowed}
    assert 0.05 < texts.count("") / 400 < 0.15


@pytest.mark.parametrize("part", [1, 2], ids=["vae", "unet"])
def test_losses_are_finite_and_fall(trained: tuple[Path, list[float], list[float]], part: int) -> None:
    losses = trained[part]
    assert np.isfinite(losses).all() and losses[-1] < 0.95 * losses[0]


def test_the_folder_draws_a_picture_through_diffusers(trained: tuple[Path, list[float], list[float]]) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(
        trained[0], safety_checker=None, feature_extractor=None, requires_safety_checker=False, use_safetensors=True
    )
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a library, straight up", num_inference_steps=2, output_type="np").images
    assert image.shape == (1, 128, 128, 3) and np.isfinite(image).all()
    latents = np.load(next((trained[0].parent / "checkpoints").glob("*-latents-*/0.npy")))
    assert latents.shape == (5, len(SCENES), 4, 32, 32) and latents.astype(np.float64).std() == pytest.approx(
        1, abs=0.15
    )


def test_a_run_starts_from_what_is_known_of_the_words(landscapes: Path, tmp_path: Path) -> None:
    clip_text.write_tokenizer(tmp_path, WORDING)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    known = StableDiffusionPipeline.from_pretrained(landscapes, safety_checker=None)
    denoiser = train_landscapes.Denoiser(tokenizer, TINY)
    train_landscapes.start_from(denoiser, landscapes, tokenizer)
    text = landscape_captions.PROMPTS["lavender"]
    with torch.no_grad():
        ours = denoiser.text_encoder(clip_text.tokenize(tokenizer, [text])).last_hidden_state[0, :8]
        theirs = known.encode_prompt(text, "cpu", 1, False)[0][0, :8]
    torch.testing.assert_close(ours, theirs)
    for name, value in denoiser.unet.state_dict().items():
        torch.testing.assert_close(value, known.unet.state_dict()[name])


def test_a_run_goes_on_where_it_stopped_and_ends_where_it_is_told(
    landscapes: Path, trained: tuple[Path, list[float], list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    few_views(monkeypatch)
    folder = trained[0].parent
    before = AutoencoderKL.from_pretrained(trained[0] / "vae").state_dict()
    assert train_panoramas.main(arguments(landscapes, folder)) == trained[2]
    assert len(train_panoramas.main([*arguments(landscapes, folder, steps=30), "--batch_size", "4"])) > len(trained[2])
    for name, value in AutoencoderKL.from_pretrained(trained[0] / "vae").state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_the_decoder_learns_on_and_the_encoder_stays(
    trained: tuple[Path, list[float], list[float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_views(monkeypatch)
    shutil.copytree(trained[0] / "vae", tmp_path / "panoramas" / "vae")
    places = ["--checkpoint_dir", str(trained[0].parent / "checkpoints"), "--output_dir", str(tmp_path)]
    tiny = ["--steps", "16", "--batch_size", "4", "--crop", "4", "--panoramas", "1", "--device", "cpu"]
    losses = train_panoramas_decoder.main([*places, *tiny, "--learning_rate", "2e-3"])
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    before, after = (AutoencoderKL.from_pretrained(folder / "vae") for folder in (trained[0], tmp_path / "panoramas"))
    learned = dict(after.named_parameters())
    changed = {name.split(".")[0] for name, value in before.named_parameters() if not value.equal(learned[name])}
    assert changed == {"decoder", "post_quant_conv"}
    assert after.config.scaling_factor == before.config.scaling_factor


@pytest.fixture(scope="module")
def pool() -> torch.Tensor:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(panorama_judge, "VIEWS", 2)
        return panorama_judge.draw_pool(7, 1)


def test_the_judge_sees_every_scene_in_every_band(pool: torch.Tensor) -> None:
    assert pool.shape == (len(SCENES) * 3, 2, 3, judge.SIZE, judge.SIZE) and pool.abs().max() <= 1
    assert panorama_judge.CLASSES[-1] == judge.NONE and panorama_judge.CLASSES[3:5] == ("lavender level", "lavender up")
    sky, ground = (pool[panorama_judge.CLASSES.index(name)].mean((0, 2, 3)) for name in ("dunes up", "dunes down"))
    assert sky[2] > sky[0] + 0.5 and ground[0] > ground[2] + 0.5
    pictures, labels = panorama_judge.drawer(pool, 0.0)(40, np.random.default_rng(0))
    for picture, label in zip(pictures, labels.tolist(), strict=True):
        assert (picture == pool[label]).flatten(1).all(1).any()


def test_what_shows_none_is_spoilt(pool: torch.Tensor) -> None:
    draw = panorama_judge.drawer(pool, 0.25)
    pictures, labels = draw(80, np.random.default_rng(1))
    assert (labels == len(panorama_judge.CLASSES) - 1).sum() == 20
    assert torch.equal(pictures, draw(80, np.random.default_rng(1))[0]) and pictures.abs().max() <= 1
    views = pool.flatten(0, 1)
    spoilt = pictures[labels == len(pool)]
    assert min((picture - views).abs().mean((1, 2, 3)).min().item() for picture in spoilt) > 0.005


def test_the_judge_of_panoramas_is_kept_and_names_views(pool: torch.Tensor, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(panorama_judge, "draw_pool", lambda first_seed, panoramas: pool)
    monkeypatch.setattr(panorama_judge, "accuracy", lambda network, draw, count: judge.accuracy(network, draw, 30))
    first, again = (panorama_judge.panorama_judge(tmp_path, steps=2, panoramas=1) for _ in range(2))
    assert (tmp_path / "judge-panoramas.pt").exists() and first.classes == panorama_judge.CLASSES
    assert (first.held_out, first.none_held_out) == (again.held_out, again.none_held_out)
