"""What the tests that go through main.py's own options share: command lines, expected failures, weights read once."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import main
from guidance.command_line import parse
from utils.options import Given

Argv = list[str]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """One thread: fastest for networks of this size, and bytes do not depend on the machine's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def wide(sd_folder: Path, top: Path, *extra: object) -> Argv:
    """A wide image of 64x96 pixels in two steps and three windows, into ``top/t``."""
    return _argv(
        "--app", "wide_image", "--sd_path", sd_folder, "--save_top_dir", top, "--tag", "t", "--device", "cpu",
        "--dtype", "float32", "--panorama_width", 96, "--window_stride", 2, "--num_inference_steps", 2,
        "--guidance_scale", 2, *extra
    )  # fmt: skip


def ambiguous(stage_1: Path, stage_2: Path, top: Path, *extra: object) -> Argv:
    """An ambiguous image of 64x64 pixels in two steps a stage, into ``top/t``."""
    return _argv(
        "--app", "ambiguous_image", "--stage_1_path", stage_1, "--stage_2_path", stage_2, "--save_top_dir", top,
        "--tag", "t", "--device", "cpu", "--dtype", "float32", "--num_inference_steps", 2, "--guidance_scale", 2, *extra
    )  # fmt: skip


def typed(argv: Argv) -> Given:
    """What a command line says, checked, before weights are chosen."""
    return parse(argv)[1]


def filled(argv: Argv, family: str) -> Given:
    """The same with the defaults of preset and family."""
    app, given = parse(argv)
    return app.fill(given, family)


def _argv(*values: object) -> Argv:
    return [str(value) for value in values]


def refused(capsys: pytest.CaptureFixture[str], argv: Argv) -> str:
    """Run a command that must end with exit code 2; return its one sentence."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ending:
        main.main(argv)
    assert ending.value.code == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("main.py: error: ")
    assert stderr.endswith("\n") and stderr.count("\n") == 1, stderr
    assert "Traceback" not in stderr
    return stderr


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to load or fetch weights fails the test."""

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("weights were to be loaded")

    monkeypatch.setattr("guidance.app.App.load", forbidden)
    monkeypatch.setattr("utils.models.model_source.ModelSource.fetch", forbidden)


@pytest.fixture(scope="session")
def read_once() -> dict[str, Any]:
    """Weights that an earlier test loaded, by folder."""
    return {}


@pytest.fixture
def fast_wide(monkeypatch: pytest.MonkeyPatch, read_once: dict[str, Any]) -> list[str]:
    """Read Stable Diffusion folders from disk once for all tests; the list grows with every load that main asks for."""
    from guidance import wide_image_model
    from guidance.networks import stable_diffusion

    loads: list[str] = []

    def load(source: Any, runtime: Any) -> Any:
        loads.append(source.name)
        key = f"{source.name} {source.identity()['sha256']}"
        if key not in read_once:
            read_once[key] = stable_diffusion.load_stable_diffusion(source, runtime)
        return read_once[key]

    monkeypatch.setattr(wide_image_model, "load_stable_diffusion", load)
    monkeypatch.setattr("guidance.networks.loading.gc.collect", lambda: 0)
    return loads


def run_json(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def contents(folder: Path, pattern: str = "*.png") -> dict[str, bytes]:
    """File name -> bytes."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob(pattern))}


def shown(folder: Path, pattern: str = "*.png") -> dict[str, bytes]:
    """File name -> pixels: what a PNG says of itself besides, such as its options, does not count."""
    return {path.name: pixels(path) for path in sorted(folder.glob(pattern))}


def pixels(path: Path) -> bytes:
    """The pixels of a picture, or the bytes of another file."""
    if path.suffix != ".png":
        return path.read_bytes()
    with Image.open(path) as picture:
        return repr((picture.size, picture.mode)).encode() + picture.tobytes()


def comparable(run: dict[str, Any]) -> dict[str, Any]:
    """``run.json`` without what may differ between equal runs: times, sessions and who made what."""
    timing = ("seconds", "process")
    pictures = [{name: value for name, value in p.items() if name not in timing} for p in run["pictures"]]
    return {**{name: value for name, value in run.items() if name != "sessions"}, "pictures": pictures}


def repeat_arguments(run: dict[str, Any], index: int) -> Argv:
    """The command line that repeats one picture, from nothing but ``run.json``."""
    picture = run["pictures"][index]
    argv = ["--app", run["app"], "--seed", str(picture["seed"])]
    for name, source in run["model"]["sources"].items():
        argv += [f"--{name}", source["name"]]
    for name, value in run["options"].items():
        if name not in ("app", "seed"):
            argv += _as_option(name, value)
    if run["app"] == "wide_image":
        return [*argv, "--prompt", picture["prompts"][0], *_as_option("eval_pos", picture.get("eval_pos"))]
    return [*argv, "--style", "", "--prompts", *picture["prompts"]]


def _as_option(name: str, value: Any) -> Argv:
    if name == "initialize_xt_from_zt":
        return [f"--{name}" if value else f"--no-{name}"]
    if value is None or value is False or value == []:
        return []
    if value is True:
        return [f"--{name}"]
    return [f"--{name}", *(str(part) for part in (value if isinstance(value, list) else [value]))]


def fail_on_call(function: Callable[..., Any], numbers: set[int], error: Exception) -> Callable[..., Any]:
    """Wrap a function so that its calls with these numbers (from 1) raise."""
    calls = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in numbers:
            raise error
        return function(*args, **kwargs)

    return wrapped
