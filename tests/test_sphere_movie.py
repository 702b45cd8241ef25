"""The film of a sphere: a camera turns around once and looks up once, and the loop closes."""

import numpy as np
import pytest
from PIL import Image

from utils.animation.movie import BEAT
from utils.animation.sphere import FOV, LIFT, TURN, FineSphere, sphere_movie, strength
from utils.sphere import Band, Camera, canvas_directions, look

HEIGHT = 64


def smooth(height: int = HEIGHT) -> Image.Image:
    """A sphere coloured by direction."""
    return Image.fromarray(((canvas_directions(height) + 1) * 127.5).round().astype(np.uint8), "RGB")


def spotted(angle: float, height: int = HEIGHT) -> Image.Image:
    """A dark sphere with a bright spot at a yaw on the horizon."""
    directions = canvas_directions(height)
    spot = np.array([np.sin(np.deg2rad(angle)), 0, np.cos(np.deg2rad(angle))])
    near = (directions @ spot > 0.95)[..., None]
    return Image.fromarray(np.where(near, 255, 20).astype(np.uint8).repeat(3, axis=2), "RGB")


def whole(height: int = HEIGHT) -> Band:
    return Band(0, height, height)


def words(camera: Camera) -> str:
    return "up" if camera.pitch >= 25 else ("back" if 90 <= camera.yaw < 270 else "ahead")


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (123.4, 0), (359.9, 0), (0, 40), (0, 90)])
def test_frames_are_what_a_camera_sees(yaw: float, pitch: float) -> None:
    picture = smooth()
    seen = np.asarray(FineSphere(picture, whole(), 512).look(yaw, pitch, FOV, (64, 36)), dtype=float)
    square = look(np.asarray(picture), Camera(yaw, pitch, FOV), 64)
    assert np.abs(seen - square[14:50]).max() < 3


def test_the_camera_turns_around_once_and_the_loop_closes() -> None:
    movie = sphere_movie(spotted(90), whole(), lambda _: "")
    frames = movie.frames(64, 150)
    middles = np.array([np.asarray(frame.image)[20:44].max(axis=(0, 2))[40:72].max() for frame in frames])
    assert sum(frame.milliseconds for frame in frames) == 3 * 4 * BEAT + TURN + 2 * LIFT
    assert np.diff((middles > 128).astype(int)).clip(min=0).sum() == 1  # the spot comes by once
    first, last = (np.asarray(frame.image, dtype=float) for frame in (frames[0], frames[-1]))
    assert np.abs(first - last).mean() < 2
    assert frames[0].milliseconds >= 4 * BEAT


def test_it_looks_straight_up_and_not_down() -> None:
    heights = np.array([np.asarray(frame.image)[18, 32, 1] for frame in sphere_movie(
        smooth(), whole(), lambda _: "").frames(36, 100)])  # fmt: skip
    assert heights.max() >= 253 and heights.min() >= 120  # green is up


def test_a_ring_is_turned_around_in_and_shows_nothing_beyond_it() -> None:
    band = Band(20, 44, HEIGHT)  # 33.75 degrees up and down
    white = Image.new("RGB", (2 * HEIGHT, 24), "white")
    frames = sphere_movie(white, band, lambda _: "").frames(64, 300)
    assert len(frames) == 1 and frames[0].milliseconds == TURN and np.asarray(frames[0].image).min() == 255
    low = Band(28, 36, HEIGHT)
    assert np.asarray(sphere_movie(white, low, lambda _: "").frames(64, 300)[0].image).min() == 255


def test_texts_follow_where_the_camera_looks_and_fade_between() -> None:
    seen: list[Camera] = []

    def noted(camera: Camera) -> str:
        seen.append(camera)
        return words(camera)

    movie = sphere_movie(Image.new("RGB", (128, 64), "gray"), whole(), noted)
    frames = movie.frames(64, 50)
    rows = [np.asarray(frame.image)[64:] for frame in frames]
    assert len({row.tobytes() for row in rows}) > 3 and {camera.pitch for camera in seen} == set(range(91))
    texts = [words(Camera(yaw, 0, FOV)) for yaw in range(360)]
    strengths = [strength(texts, yaw, True) for yaw in np.arange(0, 360, 0.5)]
    assert min(strengths) < 0.1 and strengths[0] == 1 and max(abs(np.diff(strengths))) < 0.2
    assert strength(["a"] * 91, 45, False) == 1


def test_the_way_down_is_the_way_up() -> None:
    scenes = sphere_movie(smooth(), whole(), words).scenes(36)
    up, down = scenes[-3], scenes[-1]
    assert all(up.draw(share).tobytes() == down.draw(1 - share).tobytes() for share in (0.1, 0.25, 0.6))
