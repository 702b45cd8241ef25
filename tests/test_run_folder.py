"""The output folder: what is entered, what is still to do, what is refused, and nothing that is half written."""

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.files import write_atomic, write_json
from utils.prompts import FileEntry, PictureRequest, wide_files
from utils.run.run_folder import Picture, RunFolder

HEADER = {
    "app": "wide_image",
    "options": {"dtype": "float32", "guidance_scale": 7.5, "views": ("a", "b")},
    "model": {"family": "sd", "sources": {"sd_path": {"name": "x/y", "commit": None, "sha256": "abc"}}},
}
REQUESTS = [PictureRequest((prompt,), (0,)) for prompt in ("one", "two", "three")]


def list_files(request: PictureRequest, suffix: str) -> list[FileEntry]:
    return wide_files(request, suffix)


def enter(path: Path, requests: list[PictureRequest] = REQUESTS, header: dict = HEADER) -> list[Picture]:
    folder = RunFolder(path, header)
    folder.check()
    return folder.open(requests, list_files, "cpu", [1])


def finish(path: Path, picture: Picture) -> None:
    for entry in picture["files"]:
        write_atomic(path / entry["file"], b"pixels")
    RunFolder(path, HEADER).record(picture, status="done")


def names(pictures: list[Picture]) -> list[str]:
    return [picture["name"] for picture in pictures]


def read(path: Path) -> dict:
    return json.loads((path / "run.json").read_text(encoding="utf-8"))


def changed(name: str, value: object) -> dict:
    header = json.loads(json.dumps(HEADER))
    header["options"][name] = value
    return header


def test_check_writes_nothing(tmp_path: Path) -> None:
    RunFolder(tmp_path / "new" / "run", HEADER).check()
    assert list(tmp_path.iterdir()) == []


def test_only_unfinished_pictures_are_to_do(tmp_path: Path) -> None:
    assert names(enter(tmp_path / "r")) == ["one", "two", "three"]
    finish(tmp_path / "r", enter(tmp_path / "r")[1])
    assert names(enter(tmp_path / "r")) == ["one", "three"]
    assert len(read(tmp_path / "r")["sessions"]) == 1


def test_a_finished_picture_whose_file_is_gone_is_made_again(tmp_path: Path) -> None:
    for picture in enter(tmp_path):
        finish(tmp_path, picture)
    assert enter(tmp_path) == []
    (tmp_path / "two_0.png").unlink()
    assert names(enter(tmp_path)) == ["two"]


def test_a_failed_picture_is_made_again(tmp_path: Path) -> None:
    pictures = enter(tmp_path)
    RunFolder(tmp_path, HEADER).record(pictures[0], status="failed", error="no luck")
    assert read(tmp_path)["pictures"][0]["error"] == "no luck"
    assert names(enter(tmp_path)) == ["one", "two", "three"]


def test_more_prompts_join_the_folder(tmp_path: Path) -> None:
    for picture in enter(tmp_path):
        finish(tmp_path, picture)
    new = PictureRequest(("four",), ())
    assert names(enter(tmp_path, [REQUESTS[0], new])) == ["four"]
    assert names(read(tmp_path)["pictures"]) == ["one", "two", "three", "four"]


def test_the_same_prompt_twice_is_two_pictures_for_good(tmp_path: Path) -> None:
    twice = [REQUESTS[0], REQUESTS[0]]
    assert names(enter(tmp_path, twice)) == ["one", "one~2"]
    finish(tmp_path, enter(tmp_path, twice)[0])
    assert names(enter(tmp_path, twice)) == ["one~2"]
    assert names(enter(tmp_path, [REQUESTS[0]])) == []


def test_other_crops_of_a_prompt_are_another_picture(tmp_path: Path) -> None:
    enter(tmp_path)
    assert names(enter(tmp_path, [PictureRequest(("one",), (5,))])) == ["one~2"]


@pytest.mark.parametrize(("name", "value"), [("guidance_scale", 8.0), ("dtype", "bfloat16"), ("views", ["b", "a"]),
                                             ("new", 1)])  # fmt: skip
def test_other_options_are_refused_by_name(tmp_path: Path, name: str, value: object) -> None:
    enter(tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(UserError, match=f"--{name}") as refusal:
        RunFolder(tmp_path, changed(name, value)).check()
    assert repr(value) in str(refusal.value)
    for other in HEADER["options"].keys() - {name}:
        assert f"--{other}" not in str(refusal.value)
    with pytest.raises(UserError, match=f"--{name}"):
        enter(tmp_path, header=changed(name, value))
    assert (tmp_path / "run.json").read_bytes() == before


@pytest.mark.parametrize("part", ["app", "family", "sha256", "commit"])
def test_another_app_or_model_is_refused(tmp_path: Path, part: str) -> None:
    enter(tmp_path)
    other = json.loads(json.dumps(HEADER))
    owner = {"app": other, "family": other["model"]}.get(part, other["model"]["sources"]["sd_path"])
    owner[part] = "other"
    with pytest.raises(UserError, match="made with other options"):
        RunFolder(tmp_path, other).check()


def test_weights_may_lie_elsewhere(tmp_path: Path) -> None:
    enter(tmp_path)
    other = json.loads(json.dumps(HEADER))
    other["model"]["sources"]["sd_path"]["name"] = "moved/y"
    RunFolder(tmp_path, other).check()


def test_a_foreign_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "two_0.png").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"two_0\.png"):
        enter(tmp_path)
    assert (tmp_path / "two_0.png").read_bytes() == b"mine"
    assert not (tmp_path / "run.json").exists()


DAMAGED = [
    "", "{", "null", "5", "[]", "{}", '"text"', '{"app": "wide_image"}',
    '{"app": 1, "options": null, "model": null, "sessions": null, "pictures": null}',
    '{"app": 1, "options": {}, "model": {"family": 1, "sources": []}, "sessions": [], "pictures": []}',
    '{"app": 1, "options": {}, "model": {"family": 1, "sources": {}}, "sessions": [1], "pictures": []}',
    '{"app": 1, "options": {}, "model": {"family": 1, "sources": {}}, "sessions": [], "pictures": [{}]}',
    '{"app": 1, "options": {}, "model": {"family": 1, "sources": {}}, "sessions": [], "pictures": 5}',
]  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_run_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json cannot be read"):
        RunFolder(tmp_path, HEADER).check()
    with pytest.raises(UserError, match=r"run\.json"):
        enter(tmp_path)
    assert (tmp_path / "run.json").read_text() == text


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"run\.json cannot be read"):
        RunFolder(tmp_path, HEADER).check()


def test_what_run_json_says_of_a_session(tmp_path: Path) -> None:
    enter(tmp_path)
    (session,) = read(tmp_path)["sessions"]
    assert {"torch", "diffusers", "transformers", "accelerate"} <= set(session["versions"])
    assert session["device"] == "cpu" and session["python"].startswith("3.") and session["started"].startswith("20")
    assert session["git_revision"] is None or len(session["git_revision"].removesuffix("-dirty")) == 40
    assert [picture["seed"] for picture in read(tmp_path)["pictures"]] == [1, 1, 1]


def test_odd_prompts_survive_run_json(tmp_path: Path) -> None:
    prompts = ["a\nb", "🙂/\\", "x" * 5000, "é e\u0301", "\u2028", '"quoted"']
    enter(tmp_path, [PictureRequest((prompt,), (0,)) for prompt in prompts])
    pictures = read(tmp_path)["pictures"]
    assert [picture["prompts"] for picture in pictures] == [[prompt] for prompt in prompts]
    assert all(entry["prompt"] in prompts for picture in pictures for entry in picture["files"])


def _record_many(path: Path, mine: list[Picture]) -> None:
    folder = RunFolder(path, HEADER)
    for picture in mine:
        folder.record(picture, status="done", by=os.getpid())


def test_processes_record_side_by_side(tmp_path: Path) -> None:
    pictures = enter(tmp_path, [PictureRequest((f"p{index}",), ()) for index in range(12)])
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_record_many, args=(tmp_path, pictures[rank::3])) for rank in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [picture["status"] for picture in read(tmp_path)["pictures"]] == ["done"] * 12


# ---------------------------------------------------------------------------------------------- files


def test_a_full_disk_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "a.json", {"old": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("utils.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(tmp_path / "a.json", {"new": 2})
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_where_files_lie_that_are_named_by_content_is_not_pinned_but_kept_new(tmp_path: Path) -> None:
    for path in ("a.npy", "b.npy"):
        enter(tmp_path / "r", header={**HEADER, "permutations": {"sha256:0": path}})
        assert read(tmp_path / "r")["permutations"] == {"sha256:0": path}


def test_of_another_app_only_that_is_said(tmp_path: Path) -> None:
    enter(tmp_path / "r")
    with pytest.raises(UserError, match=r"other options \(--app: there 'wide_image', now 'x'\): choose"):
        enter(tmp_path / "r", header={**changed("guidance_scale", 1.0), "app": "x"})
