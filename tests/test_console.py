"""Terminals that cannot take what is said, and Ctrl-C at any moment: no traceback, and the work is done anyway."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from utils.console import complain, say

ROOT = Path(__file__).resolve().parent.parent
TINY = [
    "main.py", "--app", "wide_image", "--model", "tiny", "--device", "cpu", "--num_inference_steps", "1",
    "--panorama_width", "128", "--prompt", "A photo of a mountain range at twilight", "--eval_pos", "0",
]  # fmt: skip


def run(argv: list[str], stdout: int) -> tuple[int, str]:
    """Run a script; return its exit code and what it says on stderr."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": ""}  # what a broken stream still holds comes last
    done = subprocess.run(
        [sys.executable, *argv], cwd=ROOT, env=env, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )
    return done.returncode, done.stderr


def closed_pipe() -> int:
    """Return the end to write to of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def outputs() -> dict[str, int]:
    return {"closed pipe": closed_pipe(), "full device": os.open("/dev/full", os.O_WRONLY)}


needs_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")


@needs_full_device
@pytest.mark.parametrize("output", ["closed pipe", "full device"])
@pytest.mark.parametrize("script", ["main.py", "eval.py"])
def test_help_that_nobody_reads_is_no_error(script: str, output: str) -> None:
    assert run([script, "--help"], outputs()[output]) == (0, "")


@needs_full_device
def test_a_picture_is_made_and_scored_whatever_becomes_of_stdout(tmp_path: Path) -> None:
    code, stderr = run([*TINY, "--save_top_dir", str(tmp_path), "--tag", "t"], closed_pipe())
    assert code == 0 and "Traceback" not in stderr and "Exception" not in stderr
    assert len(list((tmp_path / "t").glob("*.png"))) == 2
    score = ["eval.py", "--fdir1", str(tmp_path / "t"), "--app", "wide_images"]
    assert run(score, outputs()["full device"]) == (0, "")
    assert 0 < json.loads((tmp_path / "t" / "eval.json").read_text())["score"] <= 1


def test_what_the_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    held = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(held, encoding="ascii"))
    say("a \u2603 b", "\udcff")
    assert held.getvalue() == rb"a \u2603 b" + b"\n" + rb"\udcff" + b"\n"


def test_streams_that_are_closed_or_missing_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    say("a", "\ud800")
    complain("b")
    assert capsys.readouterr() == ("a\n\\ud800\n", "b\n")
    closed = (tmp_path / "closed").open("w")
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        say("lost")
        complain("lost")


@pytest.fixture
def heard() -> Iterator[None]:
    """Processes that are started hear Ctrl-C, even where these tests, as a background job, do not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("script", ["main.py", "eval.py"])
def test_an_interrupt_while_modules_load_is_one_line(script: str, tmp_path: Path) -> None:
    (tmp_path / "filelock.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(60)\n")
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, script, "--help"], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == f"{script}: stopped\n" and process.returncode == 130
