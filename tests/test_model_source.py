"""Weights from folders and from the Hub: a small server speaks the Hub's own protocol, so the real client is tested."""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

import main
from tests import runs
from tests.hub_folders import source_of
from utils.errors import UserError
from utils.models.model_source import ModelSource

one_thread, no_weights, read_once, fast_wide = runs.one_thread, runs.no_weights, runs.read_once, runs.fast_wide
COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER_COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


class Hub:
    """Repositories (id -> folder, branch -> commit) behind the Hub's HTTP interface, on this machine."""

    def __init__(self) -> None:
        self.folders: dict[str, Path] = {}
        self.branches = {"main": COMMIT, "v1": OTHER_COMMIT}
        self.error: tuple[int, str] | None = None
        self.error_of_files: tuple[int, str] | None = None
        self.fetched: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str, body: bool) -> tuple[int, dict[str, str], bytes]:
        parts = path.split("?", maxsplit=1)[0].strip("/").split("/")
        if parts[0] == "api":
            return self._answer_about(parts[2:], self.error)
        if error := self.error_of_files:
            return self._refuse(error)
        folder, file = self.folders["/".join(parts[:2])], "/".join(parts[4:])
        data = (folder / file).read_bytes()
        if body:
            self.fetched.append(file)
        etag = hashlib.sha1(file.encode() + data).hexdigest()  # the client fetches equal ETags once
        return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": parts[3]}, data

    def _answer_about(self, parts: list[str], error: tuple[int, str] | None) -> tuple[int, dict[str, str], bytes]:
        name = "/".join(parts[:2])
        if error is not None:
            return self._refuse(error)
        if name not in self.folders:
            return self._refuse((401, "RepoNotFound"))
        folder = self.folders[name]
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if "tree" in parts:
            about = {"type": "file", "oid": "0" * 40}
            tree = [about | {"size": f.stat().st_size, "path": f.relative_to(folder).as_posix()} for f in files]
            return 200, {}, json.dumps(tree).encode()
        revision = parts[3] if len(parts) > 3 else "main"
        commit = self.branches.get(revision, revision if revision in self.branches.values() else None)
        if commit is None:
            return self._refuse((404, "RevisionNotFound"))
        siblings = [{"rfilename": path.relative_to(folder).as_posix()} for path in files]
        return 200, {}, json.dumps({"id": name, "sha": commit, "siblings": siblings}).encode()

    def _refuse(self, error: tuple[int, str]) -> tuple[int, dict[str, str], bytes]:
        return error[0], {"X-Error-Code": error[1]} if error[1] else {}, b""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                self._reply(body=True)

            def do_HEAD(self) -> None:
                self._reply(body=False)

            def _reply(self, body: bool) -> None:
                status, headers, data = hub.answer(self.path, body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if body:
                    self.wfile.write(data)

        return Handler


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A Hub without repositories and an empty local cache."""
    here = Hub()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub_cache")))
    connect(monkeypatch, here.url)
    yield here
    here.server.shutdown()


def connect(monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
    """Let the client talk to this address; None is offline mode."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", url is None)
    if url is not None:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


# ---------------------------------------------------------------------------------------------- the Hub says no


def gated(hub: Hub, patch: pytest.MonkeyPatch) -> None:
    hub.error = (403, "GatedRepo")


def gated_files(hub: Hub, patch: pytest.MonkeyPatch) -> None:
    hub.error_of_files = (403, "GatedRepo")


def deleted(hub: Hub, patch: pytest.MonkeyPatch) -> None:
    hub.folders.clear()


def broken(hub: Hub, patch: pytest.MonkeyPatch) -> None:
    hub.error = (500, "")


def files_gone(hub: Hub, patch: pytest.MonkeyPatch) -> None:
    hub.error_of_files = (404, "EntryNotFound")


def silent(hub: Hub, patch: pytest.MonkeyPatch) -> None:
    connect(patch, "http://127.0.0.1:9")


def offline(hub: Hub, patch: pytest.MonkeyPatch) -> None:
    connect(patch, None)


REFUSALS = {
    gated: ["gated", "https://huggingface.co/some/model", "hf auth login"],
    gated_files: ["gated", "https://huggingface.co/some/model", "DeepFloyd/IF-I-XL-v1.0"],
    deleted: ["--sd_path some/model", "deleted", "private", "another model"],
    broken: ["--sd_path some/model", "cannot be reached", "--model tiny"],
    silent: ["--sd_path some/model", "cannot be reached", "--model tiny"],
    offline: ["--sd_path some/model", "cannot be reached", "local cache"],
    files_gone: ["some/model", "could not be downloaded"],
}


@pytest.mark.parametrize("trouble", REFUSALS)
@pytest.mark.usefixtures("no_weights")
def test_trouble_with_the_hub_is_one_sentence(
    trouble: Callable[[Hub, pytest.MonkeyPatch], None], hub: Hub, sd_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    hub.folders["some/model"] = sd_folder
    trouble(hub, monkeypatch)
    with pytest.raises(SystemExit) as ending:
        main.main(runs.wide(Path("some/model"), tmp_path))
    sentence = capsys.readouterr().err.splitlines()[-1]  # the client's own progress bars may come first
    assert ending.value.code == 2 and sentence.startswith("main.py: error: ")
    for word in REFUSALS[trouble]:
        assert word in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_weights")
def test_a_revision_that_does_not_exist(
    hub: Hub, sd_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.folders["some/model"] = sd_folder
    sentence = runs.refused(capsys, runs.wide(Path("some/model"), tmp_path, "--revision", "fp32"))
    assert "--revision fp32" in sentence and "some/model" in sentence


def test_a_repository_without_a_component(hub: Hub, if_stage_1_folder: Path) -> None:
    hub.folders["some/model"] = if_stage_1_folder
    with pytest.raises(UserError, match="vae/"):
        source_of("some/model", "sd_path")


# ---------------------------------------------------------------------------------------------- names


ODD_NAMES = {
    "": "names nothing", "a\0b": "names nothing", "o/n\0": "names nothing", "x" * 300: "no such folder",
    "/" + "x" * 300: "no such folder", "o/" + "x" * 300: "neither a folder nor a Hub id", "~": "no such folder",
    "~/models": "no such folder", "/nowhere": "no such folder", "../nowhere": "no such folder",
    "o/n/m": "no such folder",
    "o/..": "neither a folder nor a Hub id", "o/n ame": "neither a folder nor a Hub id", "/": "no unet/ folder",
    "file.safetensors": "is a file", "folder/file.safetensors": "is a file", "folder": "no unet/ folder",
}  # fmt: skip


@pytest.mark.parametrize("option", ["sd_path", "stage_1_path"])
@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.usefixtures("no_weights")
def test_odd_names_are_one_sentence(
    name: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    for file in ("file.safetensors", "folder/file.safetensors"):
        (tmp_path / file).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    app = {"sd_path": "wide_image", "stage_1_path": "ambiguous_image"}[option]
    sentence = runs.refused(capsys, ["--app", app, "--device", "cpu", f"--{option}", name])
    assert f"--{option}" in sentence and ODD_NAMES[name] in sentence and len(sentence) < 300
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.safetensors", "folder"]


def test_a_folder_is_not_searched_beyond_what_a_model_has(
    sd_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, looked_at, scan = shutil.copytree(sd_folder, tmp_path / "m"), [], os.scandir
    for place in ("pictures/2025/june", "unet/checkpoints"):
        (folder / place).mkdir(parents=True)
        (folder / place / "x.safetensors").write_bytes(b"no weights")
    monkeypatch.setattr(os, "scandir", lambda path: looked_at.append(Path(path)) or scan(path))
    source = source_of(folder, "sd_path")
    assert sorted(looked_at) == sorted([folder, *(folder / part for part in source.components)])
    assert not any("x.safetensors" in file for file in source.files) and source.weight_variant("auto", False) is None


def test_a_folder_that_cannot_be_read(sd_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match="Permission denied"):
        source_of(sd_folder, "sd_path")


# ---------------------------------------------------------------------------------------------- the Hub says yes


def test_a_run_from_the_hub(
    hub: Hub, sd_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast_wide: list[str]
) -> None:
    hub.folders["some/model"] = sd_folder
    argv = runs.wide(Path("some/model"), tmp_path / "hub", "--prompt", "a b")
    assert main.main(argv) == 0
    run = runs.run_json(tmp_path / "hub" / "t")
    assert run["model"]["sources"]["sd_path"] == {"name": "some/model", "commit": COMMIT, "sha256": None}
    assert main.main(runs.wide(sd_folder, tmp_path / "folder", "--prompt", "a b")) == 0
    pictures = runs.contents(tmp_path / "hub" / "t")
    assert pictures and runs.shown(tmp_path / "hub" / "t") == runs.shown(tmp_path / "folder" / "t")

    for trouble in (offline, deleted):
        hub.fetched.clear()
        trouble(hub, monkeypatch)
        again = tmp_path / trouble.__name__
        assert main.main(runs.wide(Path("some/model"), again, "--prompt", "a b")) == 0
        assert runs.contents(again / "t") == pictures and hub.fetched == []
        assert runs.comparable(runs.run_json(again / "t")) == runs.comparable(run)
        connect(monkeypatch, hub.url)


def test_only_needed_files_are_fetched(hub: Hub, if_stage_2_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(if_stage_2_folder, tmp_path / "m")
    for file in list(folder.glob("*/*.safetensors")):
        for name in (file.with_suffix(".bin").name, f"{file.stem}.fp16.safetensors", f"{file.stem}.fp16.bin"):
            shutil.copy(file, file.with_name(name))
    hub.folders["some/stage"] = folder
    source = source_of("some/stage", "stage_2_path")
    assert not [file for file in hub.fetched if file.endswith((".bin", ".safetensors"))]
    assert source.fetch(source.weight_variant("auto", half=True)) == source.folder
    weights = [file for file in hub.fetched if file.endswith((".bin", ".safetensors"))]
    assert weights == ["unet/diffusion_pytorch_model.fp16.safetensors"]
    source.fetch(source.weight_variant("auto", half=False))
    weights = [file for file in hub.fetched if file.endswith((".bin", ".safetensors"))]
    assert weights[1:] == ["unet/diffusion_pytorch_model.safetensors"]


def test_revisions(hub: Hub, sd_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.folders["some/model"] = sd_folder
    for revision, commit in ((None, COMMIT), ("v1", OTHER_COMMIT), (COMMIT, COMMIT)):
        assert source_of("some/model", "sd_path", revision).commit == commit
    offline(hub, monkeypatch)
    for revision, commit in ((None, COMMIT), ("v1", OTHER_COMMIT), (COMMIT, COMMIT)):
        assert source_of("some/model", "sd_path", revision).commit == commit
    with pytest.raises(UserError, match="cache"):
        source_of("some/model", "sd_path", "v2")


def test_a_moved_branch_is_followed(hub: Hub, sd_folder: Path) -> None:
    hub.folders["some/model"] = sd_folder
    source_of("some/model", "sd_path")
    hub.branches["main"] = OTHER_COMMIT
    assert source_of("some/model", "sd_path").commit == OTHER_COMMIT


def test_weights_that_were_never_fetched_are_missed_offline(
    hub: Hub, sd_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.folders["some/model"] = sd_folder
    source_of("some/model", "sd_path")
    offline(hub, monkeypatch)
    with pytest.raises(UserError, match="some/model"):
        source = source_of("some/model", "sd_path")
        source.fetch(source.weight_variant("auto", half=False))


# ---------------------------------------------------------------------------------------------- weight files


def offering(*files: str) -> ModelSource:
    return ModelSource("m", Path("m"), ("unet", "text_encoder", "scheduler"), None, frozenset(files))


PLAIN = ("unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors")
FP16 = ("unet/diffusion_pytorch_model.fp16.safetensors", "text_encoder/model.fp16.safetensors")
SHARDS = ("unet/diffusion_pytorch_model.safetensors", "text_encoder/model-00001-of-00002.safetensors",
          "text_encoder/model-00002-of-00002.safetensors", "text_encoder/model.safetensors.index.json")  # fmt: skip
FP16_SHARDS = ("unet/diffusion_pytorch_model.fp16.safetensors", "text_encoder/model.fp16-00001-of-00002.safetensors",
               "text_encoder/model.fp16-00002-of-00002.safetensors",
               "text_encoder/model.safetensors.index.fp16.json")  # fmt: skip


@pytest.mark.parametrize(
    ("files", "preferred", "half", "expected"),
    [
        (PLAIN, "auto", False, None),
        (PLAIN, "auto", True, None),
        (PLAIN, "none", True, None),
        (FP16, "auto", True, "fp16"),
        (FP16, "auto", False, "fp16"),
        (PLAIN + FP16, "auto", True, "fp16"),
        (PLAIN + FP16, "auto", False, None),
        (PLAIN + FP16, "fp16", False, "fp16"),
        (PLAIN + FP16, "none", True, None),
        (SHARDS, "auto", False, None),
        (FP16_SHARDS, "auto", True, "fp16"),
        (SHARDS + FP16_SHARDS, "auto", False, None),
        (PLAIN + FP16[:1], "auto", True, None),
    ],
)
def test_choice_of_weight_files(files: tuple[str, ...], preferred: str, half: bool, expected: str | None) -> None:
    assert offering(*files).weight_variant(preferred, half) == expected


@pytest.mark.parametrize(
    ("files", "preferred"),
    [(PLAIN, "fp16"), (FP16, "none"), (PLAIN[:1], "auto"), (PLAIN, "ema"), ((), "auto"),
     (("unet/diffusion_pytorch_model.bin", "text_encoder/model.bin"), "auto"), (PLAIN[:1] + FP16[1:], "auto"),
     (("unet/deep/diffusion_pytorch_model.safetensors", PLAIN[1]), "auto")],
)  # fmt: skip
def test_missing_weight_files(files: tuple[str, ...], preferred: str) -> None:
    with pytest.raises(UserError, match="safetensors"):
        offering(*files).weight_variant(preferred, half=True)


def test_shards_are_fetched_with_their_index(hub: Hub, if_stage_1_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(if_stage_1_folder, tmp_path / "m")
    for name in FP16_SHARDS:
        (folder / name).write_text("{}")
    hub.folders["some/model"] = folder
    source = source_of("some/model", "stage_1_path")
    source.fetch("fp16")
    assert set(FP16_SHARDS) <= set(hub.fetched)
    assert "text_encoder/model.safetensors" not in hub.fetched


# ---------------------------------------------------------------------------------------------- identity


def test_the_hash_of_a_folder_is_that_of_what_a_run_reads(sd_folder: Path, tmp_path: Path) -> None:
    def identity(folder: Path) -> str | None:
        return source_of(folder, "sd_path").identity()["sha256"]

    folder = shutil.copytree(sd_folder, tmp_path / "copy")
    first = identity(sd_folder)
    assert first is not None and first == identity(folder)
    (folder / "README.md").write_text("a note")
    assert identity(folder) == first
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    second = identity(folder)
    assert second != first
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.012", "0.013"))
    assert identity(folder) not in (first, second)
