"""Pictures are written while the next one is made, one after the other, and failures stay with their picture."""

import json
import threading
from pathlib import Path

import pytest
from PIL import Image

from utils.prompts import PictureRequest
from utils.run import writer as writing
from utils.run.run_folder import Picture, RunFolder
from utils.run.writer import Writer
from utils.scoring.best_of import Sample

HEADER = {"app": "wide_image", "options": {}, "model": {"family": "sd", "sources": {}}}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run", HEADER)


@pytest.fixture
def pictures(folder: RunFolder) -> list[Picture]:
    requests = [PictureRequest((name,), ()) for name in ("a", "b", "c")]
    files = [{"role": "strip", "prompt": ""}, {"role": "latents"}]

    def list_files(request: PictureRequest, suffix: str) -> list[dict]:
        stem = f"{request.prompts[0]}{suffix}"
        return [{**entry, "file": stem + end} for entry, end in zip(files, (".png", ".safetensors"), strict=True)]

    return folder.open(requests, list_files, "cpu", [0])


def sample_of(picture: Picture) -> Sample:
    return Sample(0, {picture["files"][0]["file"]: Image.new("RGB", (2, 2))}, b"numbers")


def status(folder: RunFolder) -> dict[str, str]:
    return {entry["name"]: entry["status"] for entry in json.loads((folder.path / "run.json").read_text())["pictures"]}


def test_all_is_written_when_the_block_ends(folder: RunFolder, pictures: list[Picture]) -> None:
    with Writer(folder) as writer:
        for number, picture in enumerate(pictures):
            writer.write(picture, sample_of(picture), seconds=number)
    assert status(folder) == {"a": "done", "b": "done", "c": "done"} and writer.failures == {}
    assert (folder.path / "b.safetensors").read_bytes() == b"numbers"
    assert Image.open(folder.path / "c.png").size == (2, 2)
    assert [entry["seconds"] for entry in folder.finished()] == [0, 1, 2]


def test_at_most_one_picture_is_on_its_way(
    folder: RunFolder, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, begun = threading.Event(), []

    def wait(_: RunFolder, picture: Picture, __: Sample) -> None:
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


def test_a_failure_stays_with_its_picture(
    folder: RunFolder, pictures: list[Picture], capsys: pytest.CaptureFixture[str]
) -> None:
    with Writer(folder) as writer:
        writer.fail(pictures[0], ValueError("not made"))
        writer.write(pictures[1], Sample(0, {}, b""))  # holds no picture of that name
        writer.write(pictures[2], sample_of(pictures[2]))
    assert status(folder) == {"a": "failed", "b": "failed", "c": "done"}
    assert writer.failures == {"a": "ValueError: not made", "b": "KeyError: 'b.png'"}
    (folder.path / "run.json").unlink()
    writer.fail(pictures[0], ValueError("again"))
    assert "could not be recorded" in capsys.readouterr().err
