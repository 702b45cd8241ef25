"""Loops of every view and of strips: where they rest, that they close, their size; and from the command line."""

import io
import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import main
from guidance import get_app
from tests import report_folders, runs, view_samples
from tests.view_samples import SAMPLES, apart, build, same, smooth
from utils.animation import encoders
from utils.animation.captions import INK, LINES, PAPER, Captions, fit
from utils.animation.encoders import EFFORTS, LIMIT, encode_gif, encode_webp, write_movie
from utils.animation.movie import BEAT, HOLD, MOVE, Frame, Movie, Pose, ease, strip_movie, view_movie
from utils.animation.views import canonical_picture
from utils.images import is_moving
from utils.scoring.eval_plan import COMMON_ROLES, list_files, make_plan, read_run
from utils.views import get_views, permutation_files, with_contents, with_paths
from utils.views.view_base import from_tensor, to_tensor

one_thread, read_once, fast_wide, no_weights = runs.one_thread, runs.read_once, runs.fast_wide, runs.no_weights
folder, picture = view_samples.folder, view_samples.picture
ODD_TEXTS = {
    "emoji": "a 🙂 family 👨‍👩‍👧 and 🇫🇷",
    "long": "an oil painting of " + "very " * 2000 + "old men",
    "one word": "x" * 5000,
    "many scripts": "字を書く مرحبا שלום हिन्दी e\u0301",
    "controls": "a\nb\tc\0d\u202eback\x7f",
    "half a character": "a \ud800 b",
    "percent": "100 % <b>&amp;",
}


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    values = np.random.RandomState(seed).randint(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values, "RGB")


def movie_of(picture: Image.Image, *names: str, texts: Sequence[str] = (), rest: str = "") -> Movie:
    texts = texts or [""] * len(names)
    return view_movie(picture, rest, [Pose(view, text) for view, text in zip(get_views(names), texts, strict=True)])


def holds(frames: Sequence[Frame]) -> list[Image.Image]:
    """What stands still, in order."""
    return [frame.image for frame in frames if frame.milliseconds >= HOLD]


def total(frames: Sequence[Frame]) -> int:
    return sum(frame.milliseconds for frame in frames)


# ---------------------------------------------------------------------------------------------- views


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_view_moves_from_the_picture_to_what_it_shows_and_back(
    sample: str, folder: Path, picture: Image.Image
) -> None:
    view = build(sample, folder)
    frames = view_movie(picture, "", [Pose(view, "")]).frames(64, 150)
    assert all(frame.image.mode == "RGB" and frame.image.size == (64, 64) for frame in frames)
    assert total(frames) == 2 * HOLD + 2 * MOVE
    if sample == "identity":
        assert len(frames) == 1 and same(frames[0].image, picture)
        return
    rest, extreme = holds(frames)
    assert same(frames[0].image, picture) and same(rest, picture)
    assert same(extreme, from_tensor(view.show(to_tensor(picture))))
    way = [frame.image.tobytes() for frame in frames if not same(frame.image, picture)]
    assert len(way) > MOVE // 150 and way == way[::-1]


@pytest.mark.parametrize("names", [("rotate_cw",), ("skew",), ("low_pass", "high_pass"), ("rotate_180", "negate")])
def test_the_loop_closes_without_a_jump(names: tuple[str, ...], picture: Image.Image) -> None:
    images = [frame.image for frame in movie_of(picture, *names).frames(64, 50)]
    steps = [apart(a, b) for a, b in zip(images, [*images[1:], images[0]], strict=True)]
    assert steps[-1] <= max(steps[:-1]) / 2


def test_all_views_are_visited_in_their_order(picture: Image.Image) -> None:
    names = ("rotate_cw", "flip", "negate", "patch_permute:grid=4,seed=7")
    rest, *stands = holds(movie_of(picture, *names).frames(64, 100))
    assert same(rest, picture) and len(stands) == 2 * len(names) - 1
    for view, stand in zip(get_views(names), stands[::2], strict=True):
        assert same(stand, from_tensor(view.show(to_tensor(picture))))
    assert all(same(stand, picture) for stand in stands[1::2])


def test_a_picture_without_another_view_stands_still(picture: Image.Image) -> None:
    (frame,) = movie_of(picture).frames(64, 50)
    assert same(frame.image, picture) and frame.milliseconds == HOLD


def test_movement_is_slow_at_both_ends() -> None:
    assert (ease(0), ease(0.5), ease(1)) == (0, 0.5, 1)
    assert ease(0.05) < 0.01 and ease(0.95) > 0.99
    assert all(ease(step / 20) < ease((step + 1) / 20) for step in range(20))


def test_intervals_divide_every_scene() -> None:
    assert all(BEAT % effort.interval == 0 for effort in EFFORTS)
    assert HOLD % BEAT == MOVE % BEAT == 0


def test_large_pictures_are_scaled_down(folder: Path) -> None:
    movie = view_movie(from_tensor(smooth(1024)), "", [Pose(build("rotate_cw", folder), "")])
    assert movie.side == 512
    assert movie.frames(512, 300)[0].image.size == (512, 512)
    assert movie.frames(128, 300)[0].image.size == (128, 128)


# ---------------------------------------------------------------------------------------------- captions


def test_the_caption_is_that_of_the_view_at_hand(picture: Image.Image) -> None:
    frames = movie_of(picture, "rotate_cw", "flip", rest="a horse", texts=["a village", "a cat"]).frames(64, 100)
    captions = Captions(["a horse", "a village", "a cat"], 64)
    shown = holds(frames)
    for image, text in zip(shown, ["a horse", "a village", "a horse", "a cat"], strict=True):
        assert same(image, captions.under(image.crop((0, 0, 64, 64)), text))
    assert len({image.crop((0, 64, 64, image.height)).tobytes() for image in shown}) == 3
    half = frames[MOVE // 100 // 2].image.crop((0, 64, 64, frames[0].image.height))
    assert np.asarray(half).max() <= max(PAPER) + 1  # faded out


@pytest.mark.parametrize("name", ODD_TEXTS)
def test_any_text_fits_under_a_picture(name: str, picture: Image.Image) -> None:
    captions = Captions([ODD_TEXTS[name]], 64)
    image = captions.under(picture, ODD_TEXTS[name])
    assert 1 <= len(captions.rows[ODD_TEXTS[name]]) <= LINES
    assert same(image.crop((0, 0, 64, 64)), picture) and image.width == 64 and image.height < 128
    drawn = np.asarray(image)[64:]
    assert drawn.max() > 128
    assert (drawn[:, :2] == PAPER).all() and (drawn[:, -2:] == PAPER).all()


def test_rows_are_even_and_what_is_left_out_is_marked() -> None:
    font = Captions([], 128).font
    assert fit("a cat", font, 120) == ["a cat"]
    rows = fit("an oil painting of the letter N", font, font.getlength("an oil painting of the letter") + 1)
    assert len(rows) == 2 and min(map(len, rows)) > 10
    assert fit("word " * 100, font, 100)[-1].endswith("...") and fit("x" * 99, font, 100)[0].endswith("x...")
    assert fit("", font, 100) == [] and fit(" \n", font, 100) == []


def test_no_text_takes_no_room(picture: Image.Image) -> None:
    assert same(Captions(["", " "], 64).under(picture, ""), picture)
    assert Captions(["", "a"], 64).height > 0
    assert INK != PAPER


# ---------------------------------------------------------------------------------------------- strips


def test_a_pan_covers_both_ends_and_comes_back() -> None:
    strip = noise(384, 64)
    frames = strip_movie(strip, "", circular=False).frames(64, 50)
    width = frames[0].image.width
    assert width == round(64 * 16 / 9)
    left, right = holds(frames)
    assert same(left, strip.crop((0, 0, width, 64))) and same(frames[0].image, left)
    assert same(right, strip.crop((384 - width, 0, 384, 64)))
    assert apart(frames[-1].image, left) == 0 or same(frames[-1].image, frames[1].image)
    assert total(frames) > 2 * HOLD + 2 * MOVE


def test_a_pan_around_a_ring_goes_on_across_its_seam() -> None:
    strip = noise(256, 64)
    frames = strip_movie(strip, "", circular=True).frames(64, 50)
    twice = np.concatenate([np.asarray(strip)] * 2, axis=1)
    width, lefts = frames[0].image.width, []
    for index, frame in enumerate(frames):
        lefts.append(round(256 * index / len(frames)))
        assert same(frame.image, Image.fromarray(twice[:, lefts[-1] : lefts[-1] + width], "RGB"))
    assert lefts[0] == 0 and 0 < 256 - lefts[-1] <= 6
    assert {frame.milliseconds for frame in frames} == {50}


@pytest.mark.parametrize(("width", "height", "moves"), [(96, 64, True), (64, 64, False), (64, 200, True)])
def test_pans_of_other_shapes(width: int, height: int, moves: bool) -> None:
    strip = noise(width, height)
    frames = strip_movie(strip, "a b", circular=False).frames(min(width, height), 100)
    assert (len(frames) > 1) == moves
    assert len({frame.image.size for frame in frames}) == 1
    seen = holds(frames)[-1]
    captions = Captions(["a b"], seen.width).height
    window = seen.crop((0, 0, seen.width, seen.height - captions))
    assert same(window, strip.crop((width - window.width, height - window.height, width, height)))


def test_high_strips_are_scaled_down() -> None:
    movie = strip_movie(noise(2048, 512), "", circular=False)
    assert movie.side == 256
    assert movie.frames(256, 300)[0].image.size == (455, 256)


def test_very_long_strips_take_bounded_time() -> None:
    assert total(strip_movie(noise(64 * 400, 64), "", circular=True).frames(64, 300)) == 60 * BEAT


# ---------------------------------------------------------------------------------------------- files


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("name", ["gif", "webp"])
def test_files_hold_the_frames_and_loop_for_ever(name: str, picture: Image.Image) -> None:
    movie = movie_of(picture, "rotate_cw", rest="a", texts=["b"])
    data, frames = write_movie(movie, name), movie.frames(64, 50)
    assert data == write_movie(movie_of(picture, "rotate_cw", rest="a", texts=["b"]), name)
    with opened(data) as image:
        assert (image.format, image.n_frames, image.info["loop"]) == (name.upper(), len(frames), 0)
        for index, frame in enumerate(frames):
            image.seek(index)
            shown = image.convert("RGB")
            assert shown.size == frame.image.size and apart(shown, frame.image) < 8
            assert image.info["duration"] == frame.milliseconds


def test_resting_parts_of_a_gif_do_not_flicker(folder: Path) -> None:
    """Outside the disc that turns, no pixel changes from frame to frame."""
    movie = view_movie(from_tensor(smooth(64)), "", [Pose(build("inner_circle:radius=0.25", folder), "")])
    with opened(write_movie(movie, "gif")) as image:
        frames = []
        for index in range(image.n_frames):
            image.seek(index)
            frames.append(np.asarray(image.convert("RGB"))[:12])
    assert len(frames) == 48 and all(np.array_equal(frame, frames[0]) for frame in frames)


@pytest.mark.parametrize("name", ["gif", "webp"])
def test_a_noisy_picture_stays_small(name: str) -> None:
    data = write_movie(movie_of(noise(256, 256), "rotate_cw", texts=["noise"], rest="more"), name)
    assert len(data) <= LIMIT
    with opened(data) as image:
        assert image.width == 256 and image.n_frames >= 24


def test_effort_is_lowered_step_by_step_and_never_twice_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[int, int, int]] = []

    def encode(frames: Sequence[Frame], quality: int) -> bytes:
        tried.append((len(frames), frames[0].image.width, quality))
        return b"x" * (LIMIT + 1)

    monkeypatch.setitem(encoders.ENCODERS, "gif", encode)
    assert len(write_movie(movie_of(noise(160, 160), "rotate_cw"), "gif")) > LIMIT
    assert tried == [(48, 160, 0), (48, 160, 1), (24, 160, 1), (16, 160, 2), (16, 128, 2), (8, 128, 2)]


def test_mp4_is_written_by_ffmpeg(picture: Image.Image) -> None:
    pytest.importorskip("imageio_ffmpeg")
    import imageio_ffmpeg

    data = write_movie(movie_of(picture, "rotate_cw", rest="a", texts=["b"]), "mp4")
    assert data == write_movie(movie_of(picture, "rotate_cw", rest="a", texts=["b"]), "mp4") and data[4:8] == b"ftyp"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", "-", "-f", "null", "-"]
    said = subprocess.run(command, input=data, capture_output=True, check=False).stderr.decode()
    assert "64x" in said and "00:00:04.80" in said


def test_only_moving_pictures_are_moving(tmp_path: Path, picture: Image.Image) -> None:
    frames = [Frame(picture, 50), Frame(picture.transpose(Image.Transpose.ROTATE_90), 50)]
    (tmp_path / "a.webp").write_bytes(encode_webp(frames, 0))
    picture.save(tmp_path / "b.webp")
    picture.save(tmp_path / "c.png")
    assert [is_moving(tmp_path / name) for name in ("a.webp", "b.webp", "c.png")] == [True, False, False]
    (tmp_path / "d.gif").write_bytes(encode_gif(frames, 0))
    app = get_app("ambiguous_image")
    plan = make_plan(list_files(tmp_path), app.naming_rule(None), app.roles)
    assert [one.file for one in plan.files] == ["b.webp", "c.png"]


# ---------------------------------------------------------------------------------------------- the canonical picture


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["rotate_cw", "identity"], 1),
        (["rotate:angle=30", "jigsaw"], 1),
        (["inner_rotate:angle=45", "negate", "flip"], 1),
        (["rotate:angle=30", "inner_rotate:angle=45"], 0),
    ],
)
def test_the_canonical_picture_comes_from_the_best_view(
    names: list[str], shown: int, tmp_path: Path, picture: Image.Image
) -> None:
    views = get_views(names)
    files = [{"file": f"{i}.png", "role": "view", "prompt": "p", "view": i} for i in range(len(views))]
    for index, view in enumerate(views):
        image = from_tensor(view.show(to_tensor(picture))) if index == shown else noise(64, 64)
        image.save(tmp_path / f"{index}.png")
    found = canonical_picture(tmp_path, files, views)
    assert same(found, picture) if views[shown].kind == "orthogonal" else apart(found, picture) < 5


def test_the_canonical_picture_of_components_is_the_whole(tmp_path: Path, picture: Image.Image) -> None:
    views = get_views(["low_pass", "high_pass"])
    files = [{"file": f"{i}.png", "role": "view", "prompt": "p", "view": i} for i in range(2)]
    picture.save(tmp_path / "w.png")
    assert same(canonical_picture(tmp_path, [*files, {"file": "w.png", "role": "whole"}], views), picture)


# ---------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few frames."""
    monkeypatch.setattr(encoders, "EFFORTS", EFFORTS[-1:])


def animations(run: dict) -> list[str]:
    return [entry["file"] for one in run["pictures"] for entry in one["files"] if entry["role"] == "animation"]


def write_folder(folder: Path, names: Sequence[str] = ("identity", "rotate_cw"), **changes: object) -> Path:
    """A folder as a run leaves it."""
    folder.mkdir()
    views = [{"file": f"p{i}.png", "role": "view", "prompt": f"prompt {i}", "view": i} for i in range(len(names))]
    files = [*views, {"file": "p.png", "role": "side_by_side"}]
    for entry in files:
        noise(32, 32).save(folder / entry["file"])
    done = {"name": "p0", "prompts": [view["prompt"] for view in views], "eval_pos": [], "seed": 1, "status": "done",
            "files": files}  # fmt: skip
    run = {"app": "ambiguous_image", "options": {"views_names": list(names), "rotate_angle": None},
           "model": {"family": "tiny", "sources": {}}, "sessions": [], "pictures": [done]}  # fmt: skip
    (folder / "run.json").write_text(json.dumps({**run, **changes}))
    return folder


def command(folder: Path, *extra: str, app: str = "ambiguous_image") -> list[str]:
    return ["--app", app, "--animate_from", str(folder), *extra]


@pytest.mark.usefixtures("quick")
def test_a_strip_is_animated_while_generating_and_later_alike(
    sd_folder: Path, tmp_path: Path, fast_wide: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = runs.wide(sd_folder, tmp_path / "a", "--prompt", "a beach", "--eval_pos", 0)
    assert main.main([*argv, "--animate", "webp"]) == 0
    folder = tmp_path / "a" / "t"
    assert animations(runs.run_json(folder)) == ["a_beach.webp"]
    made = runs.contents(folder, "*.*")

    assert main.main(runs.wide(sd_folder, tmp_path / "b", "--prompt", "a beach", "--eval_pos", 0)) == 0
    assert animations(runs.run_json(tmp_path / "b" / "t")) == []
    shutil.copytree(tmp_path / "b" / "t", tmp_path / "c")
    assert main.main(command(tmp_path / "c", "--animate", "webp", app="wide_image")) == 0
    assert runs.contents(tmp_path / "c", "*.webp") == {"a_beach.webp": made["a_beach.webp"]}
    assert runs.contents(tmp_path / "c") == runs.contents(folder)

    capsys.readouterr()  # the same command makes nothing; with --animate of another format that alone
    assert main.main([*argv, "--animate", "webp"]) == 0 and main.main(argv) == 0
    assert capsys.readouterr().out.count("0 of 1 pictures to make") == 2
    assert runs.contents(folder, "*.*") == made
    assert main.main([*argv, "--animate", "gif"]) == 0
    assert animations(runs.run_json(folder)) == ["a_beach.webp", "a_beach.gif"]
    app = get_app("wide_image")
    plan = make_plan(list_files(folder), app.naming_rule(None), app.roles, read_run(folder, "wide_image"))
    assert [one.file for one in plan.files] == ["a_beach_0.png"]
    skipped = {one.file: one.reason for one in plan.skipped}
    assert skipped["a_beach.gif"] == skipped["a_beach.webp"] == COMMON_ROLES["animation"]


@pytest.mark.usefixtures("quick")
def test_a_lost_picture_of_an_animated_folder_is_made_again_and_a_lost_animation_too(
    sd_folder: Path, tmp_path: Path, fast_wide: list[str]
) -> None:
    argv = [*runs.wide(sd_folder, tmp_path, "--prompt", "a beach", "--eval_pos", 0), "--animate", "gif"]
    assert main.main(argv) == 0
    folder = tmp_path / "t"
    made, run = runs.contents(folder, "*.*"), runs.run_json(folder)
    for lost in ("a_beach_0.png", "a_beach.gif"):
        (folder / lost).unlink()
        assert main.main(argv) == 0
        again = runs.contents(folder, "*.*")
        assert {name: again[name] for name in again if name != "run.json"} == {
            name: made[name] for name in made if name != "run.json"
        }
        assert runs.comparable(runs.run_json(folder)) == runs.comparable(run)


@pytest.mark.usefixtures("quick")
def test_an_ambiguous_picture_is_animated_while_generating(
    if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path
) -> None:
    views = ["--views_names", "rotate_cw", "identity", "jigsaw", "--style", "", "--prompts", "a", "b", "c"]
    argv = runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path, *views, "--num_inference_steps", 1)
    assert main.main([*argv, "--animate", "gif"]) == 0
    (name,) = animations(runs.run_json(tmp_path / "t"))
    assert name == "a-b-c.gif"
    with Image.open(tmp_path / "t" / name) as image:
        assert image.n_frames == 4 * (1 + MOVE // 300 - 1) and image.width == 64 and image.height > 64


@pytest.mark.usefixtures("quick", "no_weights")
def test_animations_that_exist_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(tmp_path / "f")
    (folder / "p.webp").write_bytes(b"mine")
    assert main.main(command(folder, "--animate", "webp")) == 0 and main.main(command(folder)) == 0
    assert (folder / "p.webp").read_bytes() == b"mine" and animations(runs.run_json(folder)) == ["p.gif"]
    assert "1 of 1 pictures have a moving one (.gif)" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_one_damaged_picture_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(tmp_path / "f")
    run = runs.run_json(folder)
    second = json.loads(json.dumps(run["pictures"][0]).replace('"p', '"q').replace("qrompt", "prompt"))
    for entry in second["files"]:
        (folder / entry["file"]).write_bytes(b"no picture")
    run["pictures"].insert(0, second)
    (folder / "run.json").write_text(json.dumps(run))
    assert main.main(command(folder)) == 1
    assert "failed: q0: ValueError: not a picture" in capsys.readouterr().err
    assert animations(runs.run_json(folder)) == ["p.gif"]


def view_entry(**changes: object) -> list[dict]:
    entry = {"file": "p.png", "role": "view", "prompt": "a", "view": 0, **changes}
    return [{"name": "p", "prompts": ["a"], "eval_pos": [], "seed": 1, "status": "done",
             "files": [entry, {"file": "p1.png", "role": "side_by_side"}]}]  # fmt: skip


@pytest.mark.usefixtures("quick", "no_weights")
def test_a_permutation_is_found_by_its_path_and_known_by_its_content(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = view_samples.permutation_file(tmp_path)
    given = ["identity", f"permutation:file={path}"]
    names, permutations = with_contents(given), permutation_files(given)
    assert with_paths(names, permutations) == given and with_paths(given, {}) == given
    folder = write_folder(tmp_path / "f", names, permutations=permutations)
    assert main.main(command(folder)) == 0 and animations(runs.run_json(folder)) == ["p.gif"]
    np.save(path, np.arange(64))
    assert "not the file that these pictures were made with" in runs.refused(capsys, command(folder))
    path.unlink()
    assert f"{path} is not there" in runs.refused(capsys, command(folder))


BAD_FOLDERS = {
    "no such folder": (None, "does not exist"),
    "no run.json": ("", "holds no run.json"),
    "no JSON": ("{", "run.json cannot be read"),
    "nested": ("[" * 100_000, "run.json cannot be read"),
    "no angle": ({"options": {"views_names": ["identity", "inner_rotate"], "rotate_angle": "x"}}, "is damaged"),
    "another shape": ("[]", "run.json cannot be read"),
    "of the other app": ({"app": "wide_image"}, "made by --app wide_image"),
    "nothing finished": ({"pictures": []}, "no finished picture"),
    "no views": ({"options": {}}, "KeyError: 'views_names'"),
    "an unknown view": ({"options": {"views_names": ["spin"]}}, "unknown view 'spin'"),
    "an unknown permutation": ({"options": {"views_names": ["permutation:file=sha256:0"]}}, "KeyError: 'sha256:0'"),
    "a view too many": ({"pictures": view_entry(view=2)}, "is of no view"),
    "no prompt": ({"pictures": view_entry(prompt=None)}, "prompt is null, not a text"),
    "a file elsewhere": ({"pictures": view_entry(file="../f/p.png")}, "is no plain file name"),
}  # fmt: skip


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_a_folder_that_cannot_be_animated_is_one_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, wanted = BAD_FOLDERS[name]
    if content is not None:
        write_folder(tmp_path / "f", **(content if isinstance(content, dict) else {}))
    if content == "":
        (tmp_path / "f" / "run.json").unlink()
    elif isinstance(content, str):
        (tmp_path / "f" / "run.json").write_text(content)
    assert wanted in runs.refused(capsys, command(tmp_path / "f"))
    assert not list(tmp_path.glob("f/*.gif"))


@pytest.mark.usefixtures("no_weights")
def test_bad_options_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "f")
    assert "--animate 'avi' is not known: give one of gif, webp, mp4" in runs.refused(
        capsys, command(folder, "--animate", "avi")
    )
    assert "--seed --tag" in runs.refused(capsys, command(folder, "--seed", "2", "--tag", "x"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for argv in (command(folder, "--animate", "mp4"), ["--app", "wide_image", "--animate", "mp4"]):
        assert "imageio-ffmpeg" in runs.refused(capsys, argv)


def test_strips_are_animated_without_torch(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", app="wide_image", options={"circular": True})
    run = runs.run_json(folder)
    run["pictures"][0]["files"] = [{"file": "p.png", "role": "strip", "prompt": "a"}]
    (folder / "run.json").write_text(json.dumps(run))
    argv = command(folder, app="wide_image")
    code = f"import sys, main; sys.exit(main.main({argv}) or 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert animations(runs.run_json(folder)) == ["p.gif"]


def test_no_warnings(picture: Image.Image) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_movie(movie_of(picture, "rotate_cw"), "webp")
    assert torch.get_num_threads() == 1


@pytest.mark.usefixtures("quick")
def test_pictures_that_lack_files_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = report_folders.ambiguous(tmp_path / "f", report_folders.PAIRS[:1], [1, 2])
    (folder / "a_fish_seed1.png").unlink()
    assert main.main(command(folder)) == 0
    said = capsys.readouterr().out
    assert "1 of 1 pictures have a moving one" in said and "1 more are not finished, or lack files" in said
