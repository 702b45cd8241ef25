"""Cameras inside a sphere and the canvas that unrolls it: against py360convert, and against what geometry says."""

import json
import math
from pathlib import Path

import numpy as np
import py360convert
import pytest

from utils.cameras import (
    CUBE,
    MOST_CAMERAS,
    NOVEL,
    VIEW_SETS,
    band_of,
    band_rows,
    read_cameras,
    unseen_share,
)
from utils.errors import UserError
from utils.sphere import Camera, canvas_directions, canvas_neighbours, canvas_places, look

SPHERES = ("22", "16")


def random_cameras(count: int, seed: int = 0) -> list[Camera]:
    draw = np.random.default_rng(seed)
    return [
        Camera(draw.uniform(-360, 360), draw.uniform(-90, 90), draw.uniform(10, 150), draw.uniform(-180, 180))
        for _ in range(count)
    ]


def smooth(directions: np.ndarray) -> np.ndarray:
    """A picture ``[..., 3]`` in [0, 1], without an edge anywhere."""
    x, y, z = np.moveaxis(directions, -1, 0)
    return np.stack([x + y * z, y - x * z, z + x * y + y**3], axis=-1) / 4 + 0.5


# ---------------------------------------------------------------------------------------------- cameras

POSES = [
    *random_cameras(12),
    Camera(180, 0, 90), Camera(-179, 20, 60), Camera(0, 90, 90), Camera(0, -90, 90), Camera(77, 88, 120, 30),
    Camera(200, -86, 100, -50),
]  # fmt: skip


@pytest.mark.parametrize("camera", POSES)
@pytest.mark.parametrize(("height", "size"), [(64, 24), (51, 17)])
def test_a_camera_sees_what_py360convert_shows(camera: Camera, height: int, size: int) -> None:
    """Its pixels lie on the edges of its field of view, ours inside of ours; it interpolates in float32."""
    panorama = smooth(canvas_directions(height))
    inner = 2 * math.degrees(math.atan(camera.tangent * (1 - 1 / size)))
    shown = py360convert.e2p(
        panorama, inner, camera.yaw, camera.pitch, (size, size), in_rot_deg=-camera.roll, mode="bilinear"
    )
    assert np.abs(shown - look(panorama, camera, size)).max() < 1e-5


@pytest.mark.parametrize(
    ("camera", "ahead", "up"),
    [
        (Camera(0, 0, 90), (0, 0, 1), (0, 1, 0)),
        (Camera(90, 0, 90), (1, 0, 0), (0, 1, 0)),
        (Camera(180, 0, 90), (0, 0, -1), (0, 1, 0)),
        (Camera(0, 90, 90), (0, 1, 0), (0, 0, -1)),
        (Camera(90, -90, 90), (0, -1, 0), (1, 0, 0)),
        (Camera(0, 0, 90, 90), (0, 0, 1), (-1, 0, 0)),
    ],
)
def test_yaw_turns_right_and_pitch_looks_up(camera: Camera, ahead: tuple, up: tuple) -> None:
    assert np.allclose(camera.rotation @ (0, 0, 1), ahead, atol=1e-15)
    assert np.allclose(camera.rotation @ (0, 1, 0), up, atol=1e-15)
    assert np.allclose(camera.rotation @ camera.rotation.T, np.eye(3)) and np.linalg.det(camera.rotation) > 0
    centre = camera.directions(5)[2, 2]
    assert np.allclose(centre, ahead, atol=1e-15) and camera.directions(5)[0, 2] @ up > 0


@pytest.mark.parametrize("camera", random_cameras(8, seed=1))
def test_directions_and_places_are_each_others_inverse(camera: Camera) -> None:
    size, directions = 7, camera.directions(7)
    x, y, inside = camera.places(directions)
    places = (np.arange(size) + 0.5) / size * 2 - 1
    assert inside.all() and np.allclose(x, places[None, :]) and np.allclose(y, places[:, None])
    assert np.allclose(np.linalg.norm(directions, axis=-1), 1)
    assert not camera.places(-directions)[2].any()


@pytest.mark.parametrize("camera", random_cameras(8, seed=2))
def test_what_a_camera_sees_lies_inside_its_picture(camera: Camera) -> None:
    directions = canvas_directions(31).reshape(-1, 3)
    x, y, inside = camera.places(directions)
    cells, across, down = camera.sees(directions)
    assert np.array_equal(cells, np.flatnonzero(inside)) and len(cells)
    assert np.array_equal(across, x[cells]) and np.array_equal(down, y[cells])


# ---------------------------------------------------------------------------------------------- the canvas


def test_the_canvas_has_ahead_in_its_middle_and_right_to_the_right() -> None:
    directions = canvas_directions(9)
    assert directions.shape == (9, 18, 3)
    assert np.allclose(directions[4, 8:10].mean(0), (0, 0, math.cos(math.pi / 18)))
    assert np.allclose(directions[4, 13], (1, 0, 0), atol=0.2) and directions[0, :, 1].min() > 0.98


@pytest.mark.parametrize("height", [1, 2, 7, 16])
def test_places_on_the_canvas_are_its_cells(height: int) -> None:
    columns, rows = canvas_places(canvas_directions(height), height)
    assert np.abs(columns - np.arange(2 * height)).max() < 1e-9
    assert np.abs(rows - np.arange(height)[:, None]).max() < 1e-9


@pytest.mark.parametrize("height", [3, 8])
def test_the_canvas_goes_on_over_the_edge_and_over_the_poles(height: int) -> None:
    """One step over a pole lies half a turn away, one step over the edge at the other edge."""
    cells = np.arange(2 * height**2).reshape(height, 2 * height)
    column = np.arange(2 * height)
    for row, expected in (
        (-1.0, np.roll(cells[0], height)),
        (float(height), np.roll(cells[-1], height)),
        (1.0, cells[1]),
    ):
        indices, shares = canvas_neighbours(column.astype(float), np.full(2 * height, row), height)
        taken = np.take_along_axis(indices, shares.argmax(-1)[:, None], -1)[:, 0]
        assert np.array_equal(taken, expected) and shares.max(-1).min() == 1
    indices, shares = canvas_neighbours(np.array([-0.5, 2 * height - 0.5]), np.array([0.0, 0.0]), height)
    assert [set(row) for row in indices[:, :2]] == [{0, 2 * height - 1}] * 2 and np.allclose(shares[:, :2], 0.5)


@pytest.mark.parametrize("height", [5, 33])
@pytest.mark.parametrize("camera", POSES)
def test_a_picture_of_one_colour_stays_that(camera: Camera, height: int) -> None:
    assert np.abs(look(np.full((height, 2 * height, 2), 0.7), camera, 13) - 0.7).max() < 1e-12


@pytest.mark.parametrize("camera", POSES)
def test_directions_as_a_picture_show_where_a_camera_looks_the_better_the_finer(camera: Camera) -> None:
    errors = [
        np.abs(look(canvas_directions(height), camera, 16) - camera.directions(16)).max() for height in (32, 64, 128)
    ]
    assert errors[0] < 0.005
    assert errors[1] < errors[0] / 3 and errors[2] < errors[1] / 3


@pytest.mark.parametrize("height", [9, 16])
def test_turning_the_camera_is_rolling_the_canvas(height: int) -> None:
    panorama = np.random.default_rng(3).uniform(size=(height, 2 * height, 3))
    for camera in random_cameras(6, seed=4):
        for columns in (1, height, 2 * height - 1):
            turned = Camera(camera.yaw + columns * 180 / height, camera.pitch, camera.fov, camera.roll)
            rolled = np.roll(panorama, -columns, axis=1)
            assert np.abs(look(panorama, turned, 11) - look(rolled, camera, 11)).max() < 1e-9


# ---------------------------------------------------------------------------------------------- sets of cameras


@pytest.mark.parametrize("name", SPHERES)
def test_sets_of_cameras_see_every_cell_of_every_canvas(name: str) -> None:
    assert [unseen_share(VIEW_SETS[name], height) for height in (*range(1, 20), 64, 101, 256)] == [0] * 22
    edges = np.random.default_rng(0).normal(size=(200_000, 3))  # and what lies between the cells
    edges /= np.linalg.norm(edges, axis=1, keepdims=True)
    assert np.any([camera.places(edges)[2] for camera in VIEW_SETS[name]], axis=0).all()


@pytest.mark.parametrize(("name", "count", "fov", "by_two"), [("22", 22, 80, 0.971), ("16", 16, 90, 0.943)])
def test_most_of_the_sphere_is_seen_twice(name: str, count: int, fov: float, by_two: float) -> None:
    cameras = VIEW_SETS[name]
    assert len(cameras) == count and {camera.fov for camera in cameras} == {fov}
    directions = canvas_directions(128)
    area = np.hypot(directions[..., 0], directions[..., 2])
    seen = np.sum([camera.places(directions)[2] for camera in cameras], axis=0)
    assert abs((area * (seen > 1)).sum() / area.sum() - by_two) < 0.005


def test_the_unseen_share_is_that_of_the_sphere() -> None:
    assert abs(unseen_share([CUBE["up"]], 200) - 5 / 6) < 0.002
    assert abs(unseen_share([CUBE["front"]], 200) - 5 / 6) < 0.002
    assert unseen_share(list(CUBE.values()), 64) == 0
    assert abs(unseen_share(list(CUBE.values())[:5], 200) - 1 / 6) < 0.002


def test_the_ring_sees_a_band_and_all_of_it() -> None:
    height = 400
    first, end = band_rows(VIEW_SETS["ring"], height)
    assert end == height - first and abs((0.5 - first / height) * 180 - 37.8) < 0.4
    seen = np.any([camera.places(canvas_directions(height))[2] for camera in VIEW_SETS["ring"]], axis=0)
    assert seen[first:end].all() and not seen[first - 1].all() and not seen[end].all()
    assert [band_rows(VIEW_SETS[name], 96) for name in SPHERES] == [(0, 96)] * 2
    with pytest.raises(ValueError, match="all around"):
        band_rows([Camera(0, 0, 90)], 16)


def test_novel_cameras_look_between_those_of_every_set_and_not_past_the_ring() -> None:
    for name in SPHERES:
        axes = np.stack([camera.rotation[:, 2] for camera in VIEW_SETS[name]])
        nearest = [np.degrees(np.arccos((axes @ camera.rotation[:, 2]).max())) for camera in NOVEL]
        assert min(nearest) > 1.5, nearest
    level = np.concatenate([camera.directions(64).reshape(-1, 3) for camera in NOVEL if camera.pitch == 0])
    assert np.any([camera.places(level)[2] for camera in VIEW_SETS["ring"]], axis=0).all()


def test_bands_go_by_pitch() -> None:
    words = {0: "level", 24.9: "level", -24.9: "level", 25: "up", 69.9: "up", 70: "straight up", 90: "straight up",
             -25: "down", -70: "straight down"}  # fmt: skip
    assert {pitch: band_of(pitch) for pitch in words} == words


# ---------------------------------------------------------------------------------------------- sets from a file

GOOD = {"yaw": 10, "pitch": -20.5, "fov": 90}


def test_cameras_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps([GOOD, {"fov": 150, "yaw": -360, "pitch": 90}]))
    assert read_cameras(str(path)) == [Camera(10, -20.5, 90), Camera(-360, 90, 150)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no JSON"),
        ("\udcff", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[" + "9" * 5000 + "]", "no JSON"),
        ("{}", "no list of 1 to 1000"),
        ("[]", "no list of 1 to 1000"),
        (json.dumps([GOOD] * (MOST_CAMERAS + 1)), "no list of 1 to 1000"),
        (json.dumps([GOOD, 3]), "camera 2 must have yaw, pitch and fov"),
        (json.dumps([GOOD | {"roll": 3}]), "camera 1 must have yaw, pitch and fov, in degrees, and no more"),
        (json.dumps([{"yaw": 1, "pitch": 2}]), "camera 1 must have"),
        (json.dumps([GOOD, GOOD | {"fov": 151}]), "fov 151 of camera 2 is out of range: give 10 to 150"),
        (json.dumps([GOOD | {"fov": 9.9}]), "give 10 to 150"),
        (json.dumps([GOOD | {"pitch": 91}]), "give -90 to 90"),
        (json.dumps([GOOD | {"yaw": float("nan")}]), "yaw nan of camera 1"),
        (json.dumps([GOOD | {"yaw": float("inf")}]), "yaw inf of camera 1"),
        (json.dumps([GOOD | {"yaw": True}]), "yaw True of camera 1"),
        (json.dumps([GOOD | {"yaw": "10"}]), "yaw '10' of camera 1"),
        (json.dumps([GOOD | {"yaw": None}]), "yaw None of camera 1"),
        (" " * 1_000_001, "1,000,001 bytes"),
    ],
)
def test_files_of_something_else_are_refused_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "cameras.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError) as refusal:
        read_cameras(str(path))
    assert said in str(refusal.value) and "\n" not in str(refusal.value) and len(str(refusal.value)) < 400


def test_what_is_no_set_and_no_file_is_refused(tmp_path: Path) -> None:
    for name in ("23", "", str(tmp_path), str(tmp_path / "nothing.json")):
        with pytest.raises(UserError, match="is no set and no file: give one of 22, 16, ring"):
            read_cameras(name)
