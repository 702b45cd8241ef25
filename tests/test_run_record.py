"""Any ``run.json`` is read or refused in one sentence, by all that read it; what a sound one says is kept."""

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from guidance import get_app
from utils.animation import encoders
from utils.animation.folder import animate, reopen
from utils.errors import UserError
from utils.prompts import PictureRequest
from utils.run.run_folder import RunFolder
from utils.run.run_record import check_record, inputs_of, read_record
from utils.scoring.eval_plan import list_files, make_plan, read_run

PROMPTS = {"wide_image": ["a beach"], "ambiguous_image": ["a cat", "a dog"]}
OPTIONS = {
    "wide_image": {"circular": True},
    "ambiguous_image": {"views_names": ["identity", "inner_rotate"], "rotate_angle": 90.0},
}
FILES = {
    "wide_image": [
        {"file": "a_beach.png", "role": "strip", "prompt": "a beach"},
        {"file": "a_beach_0.png", "role": "crop", "prompt": "a beach", "position": 0},
    ],
    "ambiguous_image": [
        {"file": "a_cat.png", "role": "view", "prompt": "a cat", "view": 0},
        {"file": "a_dog.png", "role": "view", "prompt": "a dog", "view": 1},
        {"file": "a_cat-a_dog.png", "role": "side_by_side"},
    ],
}  # fmt: skip
ROUNDS = 150  # mutated records per app


def nested(depth: int) -> list:
    return [nested(depth - 1)] if depth else []


ODD: list[Any] = [
    None, True, False, 0, -1, 7, 1.5, 10**30, 2**63, float("nan"), float("inf"), "", "x", "view", "done", "../victim",
    "/tmp", "a\0b", "\ud800", "x" * 300, "run.json", "a_beach.png", [], {}, [[]], [None], [1], ["x"], {"a": {}},
    {"": None}, nested(60),
]  # fmt: skip


def header(app: str) -> dict[str, Any]:
    sources = {"sd_path": {"name": "x", "commit": None, "sha256": "0"}}
    return {"app": app, "options": OPTIONS[app], "model": {"family": "tiny", "sources": sources}}


def sound(app: str) -> dict[str, Any]:
    """A record as a run leaves it."""
    own = {"seed": 1, "status": "done", "files": FILES[app], "error": None, "seconds": 1.5, "process": 0}
    samples = [{"seed": 1, "score": 0.5}, {"seed": 2, "score": 0.25}]
    picture = {"name": "a", "prompts": PROMPTS[app], "eval_pos": [0], **own, "samples": samples}
    sessions = [{"started": "", "device": "cpu"}]
    return copy.deepcopy({"version": 2, **header(app), "sessions": sessions, "pictures": [picture]})


def write_pictures(folder: Path, app: str) -> None:
    folder.mkdir()
    for entry in FILES[app]:
        Image.new("RGB", (48, 16) if entry["role"] in ("strip", "side_by_side") else (16, 16)).save(
            folder / entry["file"]
        )


def mutated(content: dict[str, Any], chance: random.Random) -> Any:
    """Change one to three things of a record anywhere: replace, remove, double or add."""
    content = copy.deepcopy(content)
    for _ in range(chance.randint(1, 3)):
        holder, key = chance.choice(list(places(content)) or [({"": content}, "")])
        action = chance.random()
        if action < 0.6:
            holder[key] = copy.deepcopy(chance.choice(ODD))
        elif action < 0.75:
            del holder[key]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[chance.choice(["prompt", "view", "samples", "version", "x", "scorer", "permutations"])] = (
                chance.choice(ODD)
            )
    return content


def places(value: Any) -> list[tuple[Any, Any]]:
    """Everything inside a value, as the container and the key or index in it."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [found for key in keys for found in ((value, key), *places(value[key]))]


def resume(folder: Path, app: str) -> None:
    run = RunFolder(folder, header(app))
    run.check()
    requests = [PictureRequest(tuple(PROMPTS[app]), {"eval_pos": [0]})]
    run.open(requests, lambda request, suffix: [{"file": f"more{suffix}.png", "role": "strip"}], "cpu", [1])
    run.finished()


def score(folder: Path, app: str) -> None:
    record = read_run(folder, app)
    make_plan(list_files(folder), get_app(app).naming_rule(None), get_app(app).roles, record)
    assert get_app(app).full_points(record) in (5, 10)


def move(folder: Path, app: str) -> None:
    run = reopen(folder, get_app(app))
    failures = animate(run, run.finished(), get_app(app), "gif")
    assert all("\n" not in failure for failure in failures.values())


USERS = {"resuming": resume, "scoring": score, "animating": move}


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("app", PROMPTS)
def test_any_record_is_used_or_refused_in_one_sentence(
    app: str, user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "EFFORTS", encoders.EFFORTS[-1:])
    monkeypatch.setattr("utils.run.run_folder.environment", lambda: {"started": ""})
    (tmp_path / "victim").write_text("precious")
    folder, chance = tmp_path / "r", random.Random(f"{app} {user}")
    write_pictures(folder, app)
    kept, refused = {path.name for path in folder.iterdir()}, 0
    USERS[user](write(folder, sound(app)), app)
    for _ in range(ROUNDS):
        refused += is_refused(USERS[user], write(folder, mutated(sound(app), chance)), app)
        assert (tmp_path / "victim").read_text() == "precious" and len(list(tmp_path.iterdir())) == 2
        for path in folder.iterdir():
            if path.name not in kept:
                path.unlink()
    assert ROUNDS / 4 < refused < ROUNDS  # some changes do no harm


def write(folder: Path, content: Any) -> Path:
    (folder / "run.json").write_text(json.dumps(content))
    return folder


def is_refused(use: Callable[[Path, str], None], folder: Path, app: str) -> bool:
    try:
        use(folder, app)
    except UserError as refusal:
        assert len(str(refusal)) < 1000 and "\n" not in str(refusal)
        return True
    return False


TEXTS = {
    "a number too large": ('"seed": 1,', '"seed": 1e999,', "too large"),
    "a number too long": ('"seed": 1,', f'"seed": {"9" * 5000},', "digits"),
    "no number": ('"seed": 1,', '"seed": NaN,', "it holds NaN"),
    "a name twice": ('"seed": 1,', '"seed": 1, "seed": 1,', '"seed" stands twice'),
    "a boolean for a number": ('"seed": 1,', '"seed": true,', r"pictures[0].seed is true, not a whole number"),
    "a seed below zero": ('"seed": 1,', '"seed": -1,', "pictures[0] has a seed"),
    "a seed too large": ('"seed": 1,', f'"seed": {2**63},', "pictures[0] has a seed"),
    "half a character": ('["a beach"]', r'["a \ud800"]', "half characters"),
    "no prompt": ('["a beach"]', "[]", "pictures[0].prompts must be one text or more"),
    "no files": ('"status": "done"', '"status": "well"', 'status is "well", not one of pending, done, failed'),
    "two files of one name": ('"a_beach_0.png"', '"A_beach.png"', 'two files are called "a_beach.png"'),
    "a version that is none": ('"version": 2', '"version": 0', "version is 0"),
    "a version of text": ('"version": 2', '"version": "2"', 'version is "2", not a whole number'),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_wrong_is_said(name: str, tmp_path: Path) -> None:
    before, after, wanted = TEXTS[name]
    text = json.dumps(sound("wide_image"))
    assert before in text
    (tmp_path / "run.json").write_text(text.replace(before, after))
    with pytest.raises(UserError) as refusal:
        read_record(tmp_path / "run.json", "mend it")
    assert wanted in str(refusal.value) and str(refusal.value).endswith("): mend it.")


def test_a_picture_without_files_is_told() -> None:
    content = sound("wide_image")
    content["pictures"][0]["files"] = []
    with pytest.raises(ValueError, match=r"pictures\[0\]\.files is empty"):
        check_record(content)


def test_nesting_is_bounded_before_it_can_stop_the_writing(tmp_path: Path) -> None:
    content = sound("wide_image")
    content["options"]["circular"] = nested(300)
    write(tmp_path, content)
    with pytest.raises(UserError, match="nested too deeply"):
        read_record(tmp_path / "run.json", "mend it")


def test_two_pictures_of_one_name_are_told() -> None:
    content = sound("wide_image")
    content["pictures"] *= 2
    with pytest.raises(ValueError, match='two pictures are called "a"'):
        check_record(content)


def test_inputs_are_what_is_not_the_schemas_own() -> None:
    picture = sound("wide_image")["pictures"][0] | {"negative_prompt": "haze", "none": None, "empty": []}
    assert inputs_of(picture) == {"eval_pos": [0], "negative_prompt": "haze"}


def test_what_a_later_run_may_add_is_kept(tmp_path: Path) -> None:
    content = sound("wide_image") | {"note": {"by": "hand"}}
    assert read_record(write(tmp_path, content) / "run.json", "") == content
