"""The output folder: what is entered, what is still to do, what is refused, and nothing that is half written."""

import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest

from guidance import get_app
from tests.analytic import wide_options
from utils.errors import UserError
from utils.files import write_atomic, write_json
from utils.prompts import PictureRequest
from utils.run.run_folder import RunFolder, request_of
from utils.run.run_record import FileEntry, PictureEntry, read_record

HEADER = {
    "app": "wide_image",
    "options": {"dtype": "float32", "guidance_scale": 7.5, "views": ("a", "b")},
    "model": {"family": "sd", "sources": {"sd_path": {"name": "x/y", "commit": None, "sha256": "abc"}}},
}
RESULTS = Path(__file__).parents[1] / "results" / "embedded"
REQUESTS = [PictureRequest((prompt,), {"eval_pos": (0,)}) for prompt in ("one", "two", "three")]


def list_files(request: PictureRequest, suffix: str) -> list[FileEntry]:
    return get_app("wide_image").list_files(wide_options(512, 3072), request, suffix)


def enter(path: Path, requests: list[PictureRequest] = REQUESTS, header: dict = HEADER) -> list[PictureEntry]:
    folder = RunFolder(path, header)
    folder.check()
    return folder.open(requests, list_files, "cpu", [1])


def finish(path: Path, picture: PictureEntry) -> None:
    for entry in picture["files"]:
        write_atomic(path / entry["file"], b"pixels")
    RunFolder(path, HEADER).record(picture, status="done")


def names(pictures: list[PictureEntry]) -> list[str]:
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
    new = PictureRequest(("four",))
    assert names(enter(tmp_path, [REQUESTS[0], new])) == ["four"]
    assert names(read(tmp_path)["pictures"]) == ["one", "two", "three", "four"]


def test_the_same_prompt_twice_is_two_pictures_for_good(tmp_path: Path) -> None:
    twice = [REQUESTS[0], REQUESTS[0]]
    assert names(enter(tmp_path, twice)) == ["one", "one~2"]
    finish(tmp_path, enter(tmp_path, twice)[0])
    assert names(enter(tmp_path, twice)) == ["one~2"]
    assert names(enter(tmp_path, [REQUESTS[0]])) == []


def test_samples_are_named_by_their_seeds(tmp_path: Path) -> None:
    """Also one that joins a folder later; what is there keeps its name."""

    def enter_seeds(seeds: range, *requests: PictureRequest) -> list[str]:
        return names(RunFolder(tmp_path, HEADER).open(list(requests), list_files, "cpu", seeds))

    assert enter_seeds(range(1, 2), REQUESTS[0], REQUESTS[1]) == ["one", "two"]
    assert enter_seeds(range(7, 8), REQUESTS[0]) == ["one_seed7"]
    assert enter_seeds(range(1, 3), REQUESTS[1]) == ["two", "two_seed2"]
    assert enter_seeds(range(4, 6), REQUESTS[2]) == ["three_seed4", "three_seed5"]
    assert enter_seeds(range(4, 6), REQUESTS[2], REQUESTS[2])[2:] == ["three_seed4~2", "three_seed5~2"]


def test_other_crops_of_a_prompt_are_another_picture(tmp_path: Path) -> None:
    enter(tmp_path)
    assert names(enter(tmp_path, [PictureRequest(("one",), {"eval_pos": (5,)})])) == ["one~2"]


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
    enter(tmp_path, [PictureRequest((prompt,), {"eval_pos": (0,)}) for prompt in prompts])
    pictures = read(tmp_path)["pictures"]
    assert [picture["prompts"] for picture in pictures] == [[prompt] for prompt in prompts]
    assert all(entry["prompt"] in prompts for picture in pictures for entry in picture["files"])


def _record_many(path: Path, mine: list[PictureEntry]) -> None:
    folder = RunFolder(path, HEADER)
    for picture in mine:
        folder.record(picture, status="done", process=os.getpid())


def test_processes_record_side_by_side(tmp_path: Path) -> None:
    pictures = enter(tmp_path, [PictureRequest((f"p{index}",)) for index in range(12)])
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


# ---------------------------------------------------------------------------------------------- what is per picture


@pytest.mark.parametrize("absent", [{}, {"eval_pos": None}, {"eval_pos": []}, {"eval_pos": ()}, {"eval_pos": ""}])
def test_inputs_that_were_not_given_are_all_alike(tmp_path: Path, absent: dict) -> None:
    enter(tmp_path, [PictureRequest(("one",), absent)])
    assert "eval_pos" not in read(tmp_path)["pictures"][0]
    for other in ({}, {"eval_pos": None}, {"eval_pos": ()}):
        assert names(enter(tmp_path, [PictureRequest(("one",), other)])) == ["one"]
    assert names(enter(tmp_path, [PictureRequest(("one",), {"eval_pos": 0})])) == ["one~2"]


def test_inputs_are_compared_and_come_back(tmp_path: Path) -> None:
    wanted = PictureRequest(("one",), {"eval_pos": (1, 2), "negative_prompt": "blur", "angle": 1.5})
    enter(tmp_path, [wanted])
    (picture,) = enter(tmp_path, [wanted])
    again = request_of(picture)
    assert (again.prompts, again.inputs) == (("one",), {"eval_pos": [1, 2], "negative_prompt": "blur", "angle": 1.5})
    assert names(enter(tmp_path, [again])) == ["one"]
    for inputs in ({**wanted.inputs, "negative_prompt": "haze"}, {"eval_pos": (1, 2)}, {**wanted.inputs, "more": 1}):
        assert names(enter(tmp_path / "other", [wanted, PictureRequest(("one",), inputs)])) == ["one", "one~2"]
        shutil.rmtree(tmp_path / "other")


@pytest.mark.parametrize("name", ["name", "prompts", "seed", "status", "files", "error", "seconds", "samples"])
def test_inputs_may_not_take_names_of_the_record(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        enter(tmp_path, [PictureRequest(("one",), {name: "x"})])
    with pytest.raises(ValueError, match="eval_pos"):
        RunFolder(tmp_path, HEADER).record(enter(tmp_path)[0], eval_pos=[1])


# ---------------------------------------------------------------------------------------------- versions


def test_a_folder_without_a_version_is_opened_and_becomes_one_of_this_version(tmp_path: Path) -> None:
    enter(tmp_path)
    old = read(tmp_path)
    assert old.pop("version") == 2
    for picture in old["pictures"]:
        picture["eval_pos"] = [0]
    two = {"name": "two views", "prompts": ["a", "b"], "eval_pos": [], "files": [{"file": "a.png", "role": "view"}]}
    old["pictures"].append({**old["pictures"][0], **two})
    write_json(tmp_path / "run.json", old)
    assert names(enter(tmp_path)) == ["one", "two", "three"]
    assert names(enter(tmp_path, [PictureRequest(("a", "b"))])) == ["two views"]
    assert read(tmp_path)["version"] == 2


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    enter(tmp_path)
    write_json(tmp_path / "run.json", {**read(tmp_path), "version": 3, "pictures": "in another form"})
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(UserError, match=r"version 3.*update the program"):
        enter(tmp_path)
    assert (tmp_path / "run.json").read_bytes() == before


@pytest.mark.parametrize("folder", ["wide", "ambiguous"])
def test_folders_made_long_ago_are_read(folder: str) -> None:
    record = read_record(RESULTS / folder / "run.json", "")
    assert record["version"] == 2 and all(picture["status"] == "done" for picture in record["pictures"])


# ---------------------------------------------------------------------------------------------- a folder from elsewhere

BAD_NAMES = ["../victim", "../../victim", "/etc/victim", "deeper/victim", "..", ".", "", ".hidden", "run.json",
             "Eval.json", "eval_details.json", "x" * 252 + ".png", "a\\victim", "a\0b", "\ud800.png"]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("place", ["file", "name"])
def test_names_that_are_not_plain_are_refused(tmp_path: Path, name: str, place: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    enter(tmp_path / "r")
    content = read(tmp_path / "r")
    picture = content["pictures"][1]
    (picture["files"][0] if place == "file" else picture)[place] = name
    write_json(tmp_path / "r" / "run.json", content)
    for user in (RunFolder(tmp_path / "r", HEADER).check, lambda: enter(tmp_path / "r")):
        with pytest.raises(UserError, match=rf"run\.json cannot be read \(pictures\[1\].*{place}"):
            user()
    assert victim.read_text() == "precious"


def test_links_that_lead_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("precious")
    pictures = enter(tmp_path / "r")
    folder = RunFolder(tmp_path / "r", HEADER)
    (tmp_path / "r" / "one.png").symlink_to(outside / "victim")
    write_atomic(tmp_path / "r" / "one.png", b"pixels")  # replaces the link
    (tmp_path / "r" / "previews").symlink_to(outside)
    with pytest.raises(UserError, match="a link leads there"):
        folder.make_previews(pictures[0])
    (tmp_path / "r" / ".run.lock").unlink(missing_ok=True)
    (tmp_path / "r" / ".run.lock").symlink_to(outside / "victim")
    with pytest.raises(UserError, match="is a link, and the lock"):
        enter(tmp_path / "r")
    assert {path.name for path in outside.iterdir()} == {"victim"} and (outside / "victim").read_text() == "precious"


def test_a_link_that_leads_nowhere_counts_as_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "two_0.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"two_0\.png exists"):
        enter(tmp_path)


def test_the_output_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "r").symlink_to(tmp_path / "disk")
    pictures = enter(tmp_path / "r")
    path = RunFolder(tmp_path / "r", HEADER).make_previews(pictures[0], "seed_1")
    assert path.is_dir() and (tmp_path / "disk" / "previews" / "one" / "seed_1").is_dir()


# ---------------------------------------------------------------------------------------------- a folder that is lost


def test_a_folder_that_is_gone_is_told_and_not_made_again(tmp_path: Path) -> None:
    picture = enter(tmp_path / "r")[1]
    (tmp_path / "r").rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"the picture two was not saved: .*run\.json was moved or deleted"):
        RunFolder(tmp_path / "r", HEADER).record(picture, status="done")
    assert not (tmp_path / "r").exists()


def test_an_entry_that_is_gone_is_told(tmp_path: Path) -> None:
    picture = enter(tmp_path)[1]
    content = read(tmp_path)
    del content["pictures"][1]
    write_json(tmp_path / "run.json", content)
    with pytest.raises(UserError, match=r"the picture two was not saved: .* no longer lists it"):
        RunFolder(tmp_path, HEADER).record(picture, status="done")
    assert read(tmp_path) == content


def test_a_record_damaged_meanwhile_is_told(tmp_path: Path) -> None:
    picture = enter(tmp_path)[1]
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json cannot be read .*: two was not saved"):
        RunFolder(tmp_path, HEADER).record(picture, status="done")
