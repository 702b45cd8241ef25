"""A family of weights is one file: the toy in ``tests/third_family`` is loaded, checked and run like the others."""

import json
import sys
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline, UNet2DModel

import guidance
import main
from tests import runs
from utils.models.parts import NAMES, PARTS, SIZE, SIZES, Part

FILES = Path(__file__).parent / "third_family"
FIELDS = {"sample_size": SIZE, "in_channels": SIZE, "block_out_channels": SIZES, "down_block_types": NAMES}


@pytest.fixture(autouse=True)
def mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files, as if they lay in ``guidance/``, the app's one line, and one entry for the new kind of network."""
    monkeypatch.setattr(guidance, "__path__", [*guidance.__path__, str(FILES)])
    monkeypatch.setattr(sys, "path", [*sys.path, str(FILES)])
    monkeypatch.setitem(guidance.APPS, "mirror", "mirror_app:MirrorApp")
    monkeypatch.setitem(PARTS, "plain", Part(("UNet2DModel",), fields=FIELDS))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    DDPMPipeline(unet, DDIMScheduler(num_train_timesteps=1000)).save_pretrained(tmp_path / "plain")
    return tmp_path / "plain"


def argv(folder: Path, top: Path, *extra: object) -> list[str]:
    words = ["--app", "mirror", "--plain_path", folder, "--device", "cpu", "--dtype", "float32", "--save_top_dir", top,
             "--tag", "t", *extra]  # fmt: skip
    return [str(word) for word in words]


def test_it_makes_the_picture_that_its_formulas_say(folder: Path, tmp_path: Path) -> None:
    assert main.main(argv(folder, tmp_path)) == 0
    run = runs.run_json(tmp_path / "t")
    assert run["model"]["sources"]["plain_path"]["sha256"] and run["pictures"][0]["status"] == "done"
    pipe = guidance.load_pipeline("mirror", plain_path=str(folder), device="cpu", dtype="float32")
    unet, states = UNet2DModel.from_pretrained(folder / "unet"), []
    x_t = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    x_ts = torch.cat([x_t, x_t.flip(2)])
    for state in pipe.steps("anything", seed=5):
        states.append(state)
        schedule = pipe.model.stage.schedule
        t = schedule.timesteps[state.step - 1]
        with torch.no_grad():
            eps = unet(x_ts, t).sample
        abar, before = schedule.alphas_cumprod[t].float(), schedule.alphas_cumprod_prev[t].float()
        x0 = (x_ts - (1 - abar).sqrt() * eps) / abar.sqrt()
        mean = (x0[:1] + x0[1:].flip(2)) / 2
        x0 = torch.cat([mean, mean.flip(2)])
        x_ts = before.sqrt() * x0 + ((1 - before) / (1 - abar)).sqrt() * (x_ts - abar.sqrt() * x0)
        assert (state.x_t_1 - x_ts).abs().max() < 1e-4 * max(1, x_ts.abs().max())
    assert len(states) == 3


def test_what_it_lacks_is_told_before_it_loads(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = folder / "unet" / "config.json"
    whole = json.loads(config.read_text())
    config.write_text(json.dumps({name: value for name, value in whole.items() if name != "block_out_channels"}))
    assert "does not say block_out_channels" in runs.refused(capsys, argv(folder, tmp_path))
    config.write_text(json.dumps(whole | {"_class_name": "UNet2DConditionModel"}))
    assert "wanted is UNet2DModel" in runs.refused(capsys, argv(folder, tmp_path))
    config.write_text(json.dumps(whole))
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0")
    assert "damaged" in runs.refused(capsys, argv(folder, tmp_path))
    assert not (tmp_path / "t").exists()
