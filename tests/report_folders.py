"""Folders of drawn pictures, entered and scored as main.py and eval.py do it, for tests of pages."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from PIL import Image, ImageDraw

from guidance import get_app
from utils.files import sha256, write_json
from utils.images import save_png, side_by_side
from utils.prompts import PictureRequest
from utils.run.run_folder import RunFolder
from utils.run.run_record import PictureEntry
from utils.sphere import Band

SIDE = 64
VIEWS = ("identity", "rotate_cw")
PAIRS = (("a red house", "a fish"), ("a tall tree", "a spoon"), ("the moon", "a coin"))
STRIPS = ("a green valley", "a harbour at night")
LAKES = ("a lake", "a market square")
WHERE = ("", ", looking up", ", straight up", ", looking down", ", straight down")
CLIP = {"model": "tiny", "sha256": "0", "weights": "w.safetensors"}
TURNS = {"rotate_cw": Image.Transpose.ROTATE_270, "rotate_180": Image.Transpose.ROTATE_180}


def drawn(seed: int, width: int = SIDE, height: int = SIDE) -> Image.Image:
    """A picture that looks different from each side, another one for each seed."""
    picture = Image.new("RGB", (width, height), (60 + 37 * seed % 160, 90 + 71 * seed % 120, 200 - 53 * seed % 150))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((4, 4, width // 2, height // 4), fill=(250, 240, 220))
    for left in range(0, width, 16):
        draw.line((left, height, left + 8 + seed, height // 2), fill=(20, 20, 30), width=3)
    return picture


def ambiguous(
    path: Path, pairs: Sequence[Sequence[str]] = PAIRS, seeds: Sequence[int] = (1, 2), views: Sequence[str] = VIEWS
) -> Path:
    """A folder of ambiguous pictures, done."""
    options = {"app": "ambiguous_image", "views_names": list(views), "sync": "x0"}
    requests = [PictureRequest(tuple(pair)) for pair in pairs]
    folder, pictures = _entered(path, "ambiguous_image", options, requests, seeds)
    for number, picture in enumerate(pictures):
        rest = drawn(number)
        shown = [rest.transpose(TURNS[view]) if view in TURNS else rest for view in views]
        *singles, joined = picture["files"]
        for entry, one in zip(singles, shown, strict=True):
            save_png(path / entry["file"], one)
        save_png(path / joined["file"], side_by_side(shown))
        folder.record(picture, status="done", seconds=2.5)
    return path


def wide(path: Path, prompts: Sequence[str] = STRIPS, seeds: Sequence[int] = (1,)) -> Path:
    """A folder of strips of the embedded model's size with two crops each, done."""
    options = {"app": "wide_image", "panorama_height": 128, "panorama_width": 768, "window_stride": 16,
               "window_schedule": "fixed", "sync": "x0", "circular": False}  # fmt: skip
    requests = [PictureRequest((prompt,), {"eval_pos": [0, 512]}) for prompt in prompts]
    folder, pictures = _entered(path, "wide_image", options, requests, seeds)
    for number, picture in enumerate(pictures):
        strip = drawn(number, 768, 128)
        for entry in picture["files"]:
            left = entry.get("position", 0) // 4
            one = strip if entry["role"] == "strip" else strip.crop((left, 0, left + 128, 128))
            save_png(path / entry["file"], one)
        folder.record(picture, status="done", seconds=5.0)
    return path


def spheres(path: Path, prompts: Sequence[str] = LAKES, view_set: str = "16") -> Path:
    """A folder of spheres: red ahead, green to the right, blue behind, yellow to the left; white above, black below."""
    options = {"app": "panorama", "panorama_height": 128, "view_set": view_set, "cube": False, "sync": "x0"}
    requests = [PictureRequest(tuple(f"{prompt}{where}" for where in WHERE)) for prompt in prompts]
    folder, pictures = _entered(path, "panorama", options, requests, (1,))
    band = Band(36, 92, 128) if view_set == "ring" else Band(0, 128, 128)
    for picture in pictures:
        for entry in picture["files"]:
            one = compass(band) if entry["role"] == "sphere" else drawn(entry["view"])
            save_png(path / entry["file"], one)
        folder.record(picture, status="done", seconds=5.0)
    return path


def compass(band: Band) -> Image.Image:
    """A sphere whose quarters have a colour each, white straight up and black straight down."""
    unrolled, side = Image.new("RGB", (2 * band.height, band.height)), band.height // 2
    draw = ImageDraw.Draw(unrolled)
    for number, colour in enumerate(("blue", "yellow", "red", "lime", "blue")):
        draw.rectangle((number * side - side // 2, 0, (number + 1) * side - side // 2 - 1, band.height), fill=colour)
    for top, colour in ((0, "white"), (7 * band.height // 8, "black")):
        draw.rectangle((0, top, 2 * band.height, top + band.height // 8), fill=colour)
    return unrolled.crop((0, band.first, 2 * band.height, band.end))


def _entered(
    path: Path, app: str, options: Mapping[str, Any], requests: Sequence[PictureRequest], seeds: Sequence[int]
) -> tuple[RunFolder, list[PictureEntry]]:
    header = {"app": app, "options": options, "model": {"family": "tiny", "sources": {}}}
    folder, said = RunFolder(path, header), SimpleNamespace(**options)
    return folder, folder.open(requests, lambda *asked: get_app(app).list_files(said, *asked), "cpu", seeds)


def score(path: Path, figures: Sequence[float] | None = None, **more: Any) -> Path:
    """Score all pictures of a folder: the k-th has the k-th figure, rising from 0.2 unless told."""
    record = json.loads((path / "run.json").read_text(encoding="utf-8"))
    app = get_app(record["app"])
    rows, pairs, skipped = [], [], []
    for number, picture in enumerate(record["pictures"]):
        figure = figures[number] if figures is not None else 0.2 + 0.01 * number
        own = [entry for entry in picture["files"] if app.roles.get(entry["role"], "") is None]
        rows += [
            {**{name: entry[name] for name in ("file", "prompt")}, "score": figure,
             "sha256": sha256(path / entry["file"])}
            for entry in own
        ]  # fmt: skip
        skipped += [{"file": entry["file"], "reason": "by design"} for entry in picture["files"] if entry not in own]
        if any(entry["role"] == "view" for entry in own):
            pairs.append({"name": picture["name"], "files": [entry["file"] for entry in own],
                          "prompts": picture["prompts"], "alignment": figure, "concealment": 0.9})  # fmt: skip
    mean = sum(row["score"] for row in rows) / len(rows)
    views = {"alignment": mean, "concealment": 0.9} if pairs else {"alignment": None, "concealment": None}
    details = {"app": record["app"], "clip": CLIP, "score": mean, "grade": None, **views, "pictures": rows,
               "pairs": pairs, "skipped": skipped}  # fmt: skip
    write_json(path / "eval_details.json", {**details, **more})
    return path
