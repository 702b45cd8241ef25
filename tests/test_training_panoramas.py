"""The drawn panoramas, their captions, and the script that trains on them."""

import numpy as np
import pytest
from transformers import CLIPTokenizer

from training.drawing.panorama_captions import DIRECTIONS, PROMPTS, WORDING, point
from training.drawing.panorama_scenes import PITCHES, POSES, SCENES, draw_camera, draw_panorama, draw_view
from training.drawing.spheres import LATTICE, Lying, Plane, Sphere, Spot
from training.networks import clip_text
from utils.sphere import Camera, canvas_directions
from utils.vocabulary import Vocabulary


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
