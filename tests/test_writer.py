"""Pictures are written while the next one is made, one after the other, and failures stay with their picture."""

import json
import shutil
import threading
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from utils.errors import UserError
from utils.prompts import PictureRequest
from utils.provenance import PROGRAM
from utils.run import writer as writing
from utils.run.run_folder import RunFolder
from utils.run.run_record import PictureEntry
from utils.run.writer import Sample, Writer, write_files

ROOT = Path(__file__).resolve().parents[1]
HEADER = {"app": "wide_image", "options": {}, "model": {"family": "sd", "sources": {}}}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run", HEADER)


@pytest.fixture
def pictures(folder: RunFolder) -> list[PictureEntry]:
    requests = [PictureRequest((name,)) for name in ("a", "b", "c")]
    files = [{"role": "strip", "prompt": ""}, {"role": "latents"}]

    def list_files(request: PictureRequest, suffix: str) -> list[dict]:
        stem = f"{request.prompts[0]}{suffix}"
        return [{**entry, "file": stem + end} for entry, end in zip(files, (".png", ".safetensors"), strict=True)]

    return folder.open(requests, list_files, "cpu", [0])


def sample_of(picture: PictureEntry) -> Sample:
    strip, latents = (entry["file"] for entry in picture["files"])
    return Sample(0, {strip: Image.new("RGB", (2, 2)), latents: b"numbers"})


def status(folder: RunFolder) -> dict[str, str]:
    return {entry["name"]: entry["status"] for entry in json.loads((folder.path / "run.json").read_text())["pictures"]}


def test_all_is_written_when_the_block_ends(folder: RunFolder, pictures: list[PictureEntry]) -> None:
    with Writer(folder) as writer:
        for number, picture in enumerate(pictures):
            writer.write(picture, sample_of(picture), seconds=number)
    assert status(folder) == {"a": "done", "b": "done", "c": "done"} and writer.failures == {}
    assert (folder.path / "b.safetensors").read_bytes() == b"numbers"
    assert Image.open(folder.path / "c.png").size == (2, 2)
    assert [entry["seconds"] for entry in folder.finished()] == [0, 1, 2]


def test_at_most_one_picture_is_on_its_way(
    folder: RunFolder, pictures: list[PictureEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, begun = threading.Event(), []

    def wait(_: RunFolder, picture: PictureEntry, __: Sample) -> None:
        begun.append(picture["name"])
        assert go_on.wait(20)

    monkeypatch.setattr(writing, "write_files", wait)
    with Writer(folder) as writer:
        writer.write(pictures[0], sample_of(pictures[0]))  # returns while the file is still being written
        second = threading.Thread(target=writer.write, args=(pictures[1], sample_of(pictures[1])))
        second.start()
        second.join(0.2)
        assert second.is_alive() and begun == ["a"] and status(folder)["a"] == "pending"
        go_on.set()
        second.join()
    assert begun == ["a", "b"] and status(folder) == {"a": "done", "b": "done", "c": "pending"}


def test_a_failure_stays_with_its_picture(folder: RunFolder, pictures: list[PictureEntry]) -> None:
    with Writer(folder) as writer:
        writer.fail(pictures[0], ValueError("not made"))
        writer.write(pictures[1], Sample(0, {}))  # holds no picture of that name
        writer.write(pictures[2], sample_of(pictures[2]))
    assert status(folder) == {"a": "failed", "b": "failed", "c": "done"}
    assert writer.failures == {"a": "ValueError: not made", "b": "KeyError: 'b.png'"}


def test_a_full_disk_costs_its_pictures_and_not_the_others(
    folder: RunFolder, pictures: list[PictureEntry], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Writer(folder) as writer:
        with monkeypatch.context() as patch:
            patch.setattr("utils.files.os.fsync", full)
            writer.write(pictures[0], sample_of(pictures[0]))
            writer._wait()
        writer.write(pictures[1], sample_of(pictures[1]))
    assert "No space left" in writer.failures["a"] and "could not be recorded" in capsys.readouterr().err
    assert status(folder) == {"a": "pending", "b": "done", "c": "pending"}


def full(_: int) -> None:
    raise OSError(28, "No space left on device")


def lose(folder: RunFolder, how: str) -> None:
    if how == "deleted":
        shutil.rmtree(folder.path)
    else:
        (folder.path / "run.json").unlink()


@pytest.mark.parametrize("how", ["deleted", "only run.json"])
def test_the_first_lost_record_stops_the_batch(folder: RunFolder, pictures: list[PictureEntry], how: str) -> None:
    with pytest.raises(UserError, match="the picture b was not saved"), Writer(folder) as writer:
        writer.write(pictures[0], sample_of(pictures[0]))
        writer._wait()
        lose(folder, how)
        writer.write(pictures[1], sample_of(pictures[1]))
        writer.write(pictures[2], sample_of(pictures[2]))
        pytest.fail("the third picture was taken")
    assert folder.path.exists() == (how != "deleted")


def test_a_record_lost_before_the_last_picture_is_told_too(folder: RunFolder, pictures: list[PictureEntry]) -> None:
    with pytest.raises(UserError, match="the picture a was not saved"), Writer(folder) as writer:
        lose(folder, "deleted")
        writer.write(pictures[0], sample_of(pictures[0]))
    with pytest.raises(UserError, match="the picture a was not saved"), Writer(folder) as writer:
        writer.fail(pictures[0], ValueError("not made"))
    assert not folder.path.exists()


def test_products_that_are_no_pictures_are_written_as_they_are(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, HEADER)
    files = [{"file": "a.glb", "role": "mesh"}, {"file": "a.png", "role": "texture"}]
    (picture,) = folder.open([PictureRequest(("a",))], lambda request, suffix: files, "cpu", [0])
    folder.add_file(picture, {"file": "a.gif", "role": "animation"})
    (picture,) = folder.read()["pictures"]
    with Writer(folder) as writer:
        writer.write(picture, Sample(0, {"a.glb": b"glTF", "a.png": Image.new("RGB", (2, 2))}))
    assert writer.failures == {} and (tmp_path / "a.glb").read_bytes() == b"glTF" and not (tmp_path / "a.gif").exists()
    assert [one["name"] for one in folder.finished()] == ["a"]


def test_pngs_say_what_they_show_and_how_they_were_made(tmp_path: Path) -> None:
    header = {
        "app": "toy", "options": {"case_num": 2, "views_names": ["identity", "flip"]},
        "model": {"family": "sd", "sources": {"sd_path": {"name": "/home/me/sd", "commit": None, "sha256": "abc"}}},
    }  # fmt: skip
    folder = RunFolder(tmp_path / "run", header)
    files = [
        {"file": "ä.png", "role": "view", "prompt": "ein ä, 猫", "view": 1},
        {"file": "both.png", "role": "side_by_side"},
        {"file": "cut.png", "role": "crop", "position": 8},
    ]
    request = PictureRequest(("a", "ein ä, 猫"), {"negative_prompt": "fog", "eval_pos": [8]})
    (picture,) = folder.open([request], lambda *_: [dict(file) for file in files], "cpu", [0])
    write_files(folder, picture, Sample(7, {file["file"]: Image.new("RGB", (2, 2), "red") for file in files}))
    view, both, cut = (Image.open(folder.path / file["file"]) for file in files)
    assert view.text["prompt"] == "ein ä, 猫" and view.text["view"] == "1" and view.text["role"] == "view"
    assert both.text["prompt"] == "a\nein ä, 猫" and "view" not in both.text and cut.text["position"] == "8"
    for one in (view, both, cut):
        assert one.text["seed"] == "7" and one.text["negative_prompt"] == "fog"
        assert json.loads(one.text["options"]) == {"app": "toy", **header["options"]}
        assert json.loads(one.text["weights"]) == {"family": "sd", "sd_path": "abc"}  # and nobody's folders
        assert one.text["Software"] == PROGRAM and one.getpixel((1, 1)) == (255, 0, 0)


def test_the_program_has_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"{project['name']} {project['version']}" == PROGRAM
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
