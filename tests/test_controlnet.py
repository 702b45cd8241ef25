"""Depth for panoramas through a ControlNet: against diffusers' own pipeline, and all that can be wrong with it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler, StableDiffusionControlNetPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

import main
from guidance import load_pipeline
from guidance.networks.controlnet import ControlledUNet
from guidance.networks.denoisers import Conditioning, Denoiser
from guidance.panorama_app import prompt_at
from tests import hub_folders, runs
from tests.analytic import CPU, SD_SCHEDULER, FakeUNet, text_of
from utils.cameras import CUBE
from utils.depth import read_depth
from utils.sphere import Camera, canvas_directions

one_thread, no_weights = runs.one_thread, runs.no_weights
STEPS, SEED, SIDE = 2, 9, 64
CAMERAS = [Camera(camera.yaw, camera.pitch, 100) for camera in CUBE.values()]


def nearness(directions: np.ndarray) -> np.ndarray:
    """A smooth inverse depth in every direction: 0 behind, to the left and below, 1 on the other side."""
    return (directions @ (np.array([2.0, 1.0, 2.0]) / 3) + 1) / 2


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guidance.networks.loading.gc.collect", lambda: 0)
    monkeypatch.setattr("utils.models.components.check_tokenizer", lambda *_: None)


@pytest.fixture(scope="module")
def control_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hub_folders.make_controlnet(tmp_path_factory.mktemp("hub") / "control")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Depth, and the cameras that look at it."""
    folder = tmp_path_factory.mktemp("files")
    np.save(folder / "depth.npy", 300 * nearness(canvas_directions(90)) - 7)
    cameras = [{"yaw": camera.yaw, "pitch": camera.pitch, "fov": camera.fov} for camera in CAMERAS]
    (folder / "cameras.json").write_text(json.dumps(cameras))
    return {"depth": folder / "depth.npy", "cameras": folder / "cameras.json"}


@pytest.fixture(scope="module")
def pipe(sd_folder: Path, control_folder: Path, files: dict[str, Path]) -> Callable[..., Any]:
    """Loads a pipeline with other options than those here."""

    def load(**given: Any) -> Any:
        told = {"sd_path": str(sd_folder), "control_path": str(control_folder), "depth": str(files["depth"]),
                "view_set": str(files["cameras"]), "panorama_height": SIDE, "num_inference_steps": STEPS,
                "guidance_scale": 5.0, "device": "cpu", "dtype": "float32", "seed": SEED, **given}  # fmt: skip
        return load_pipeline("panorama", **told)

    return load


@pytest.fixture(scope="module")
def plain(pipe) -> Any:
    return pipe()


@pytest.fixture
def command(sd_folder: Path, control_folder: Path, files: dict[str, Path], tmp_path: Path) -> runs.Argv:
    """The options that a run with depth has, depth and ControlNet last."""
    values = ["--app", "panorama", "--save_top_dir", tmp_path / "out", "--tag", "t", "--device", "cpu", "--dtype",
              "float32", "--num_inference_steps", 1, "--panorama_height", SIDE, "--view_set", files["cameras"],
              "--sd_path", sd_folder, "--depth", files["depth"], "--control_path", control_folder]  # fmt: skip
    return [str(value) for value in values]


def views(output: Any) -> torch.Tensor:
    return output.latents["views"]


@pytest.mark.parametrize(("scale", "guidance", "prediction"), [
    (1.0, 1.0, "epsilon"), (1.0, 5.0, "epsilon"), (0.6, 5.0, "v_prediction")])  # fmt: skip
def test_a_view_alone_is_a_picture_of_diffusers_pipeline(
    scale: float, guidance: float, prediction: str, pipe, control_folder: Path, sd_folder: Path, tmp_path: Path
) -> None:
    folder = sd_folder
    if prediction != "epsilon":
        folder = hub_folders.make_stable_diffusion(tmp_path / "sd", prediction_type=prediction)
    mine = pipe(sd_path=str(folder), guidance_scale=guidance, control_scale=scale, sync="none")
    *_, last = mine.generate(request := mine.request("a beach"), SEED)
    model = mine.model
    noise = torch.randn(model.noise_shape({}), generator=torch.Generator().manual_seed(SEED))
    theirs = StableDiffusionControlNetPipeline.from_pretrained(
        folder, controlnet=ControlNetModel.from_pretrained(control_folder), safety_checker=None
    )
    theirs.scheduler = DDIMScheduler.from_config(theirs.scheduler.config, clip_sample=False)
    theirs.set_progress_bar_config(disable=True)
    for number in (1, 4):
        seen = torch.from_numpy(nearness(CAMERAS[number].directions(SIDE))).float()
        picture = theirs(
            prompt_at(request, CAMERAS[number]), image=model.control[number : number + 1], guidance_scale=guidance,
            num_inference_steps=STEPS, latents=model.project_noise(noise)[number : number + 1],
            controlnet_conditioning_scale=scale, output_type="latent",
        ).images  # fmt: skip
        assert (model.control[number] - seen).abs().max() < 0.01
        assert (last.x_t_1[number] - picture[0]).abs().max() < 1e-4


def test_scale_zero_is_no_control_and_more_of_it_moves_more(pipe, plain) -> None:
    none, much, weak = views(pipe(control_path=None, depth=None)("a")), views(plain("a")), pipe(control_scale=0.0)
    assert torch.equal(views(weak("a")), none)
    weak.model.latent_model.denoiser.unet.scale = 0.1
    little = views(weak("a"))
    assert 1e-3 < (little - none).norm() < 0.5 * (much - none).norm()


def test_view_batches_and_offloading_change_nothing(pipe, plain, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = views(plain("a"))
    offloaded = pipe(offload=True)
    assert (views(offloaded("a")) - whole).abs().max() < 1e-4
    assert hasattr(offloaded.model.latent_model.denoiser.unet, "_hf_hook")
    for size in (1, 4):
        monkeypatch.setattr(plain.model, "view_batch_size", size)
        assert (views(plain("a")) - whole).abs().max() < 1e-4, size


def test_a_picture_is_the_same_alone_and_as_the_last_of_many(pipe, plain) -> None:
    plain("b", seed=2)
    assert torch.equal(views(plain("a", seed=3)), views(pipe()("a", seed=3)))


def test_in_bfloat16_both_networks_run_in_it(pipe, plain) -> None:
    rough = pipe(dtype="bfloat16")
    difference = (views(rough("a")) - views(plain("a"))).abs().mean()
    assert 0 < difference < 0.1
    unet = rough.model.latent_model.denoiser.unet
    assert unet.control.dtype == unet.unet.dtype == unet.dtype == torch.bfloat16


class FakeControl(torch.nn.Module):
    """Adds the mean of every row's picture, and remembers what it saw."""

    def forward(self, sample, timestep, text, controlnet_cond, scale, return_dict=True):
        assert not return_dict and len(sample) == len(text) == len(controlnet_cond)
        self.seen = [*getattr(self, "seen", []), controlnet_cond]
        return [], scale * controlnet_cond.mean(dim=(1, 2, 3), keepdim=True)


class SteeredUNet(FakeUNet):
    def forward(self, *args, down_block_additional_residuals, mid_block_additional_residual, **told):
        (output,) = super().forward(*args, **told)
        return (output + mid_block_additional_residual,)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_compiled_networks_see_one_shape_of_control(guidance, batch_size, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also: each view has its own picture, in both halves of guidance, so that these do not cancel."""
    monkeypatch.setattr(ControlledUNet, "compile", lambda self, dynamic: None)
    unet = ControlledUNet(SteeredUNet(lambda x_t, *_: torch.zeros_like(x_t)), FakeControl(), 2.0)
    pictures = torch.arange(5.0)[:, None, None, None].expand(-1, 3, 8, 8)
    conditioning = Conditioning(text_of(1), text_of(0), control=pictures)
    eps = Denoiser(unet, SD_SCHEDULER, CPU, compile=True).predict_eps(
        torch.zeros(5, 4, 2, 2), 500, conditioning, guidance, batch_size
    )
    assert torch.equal(eps, 2 * torch.arange(5.0)[:, None, None, None].expand_as(eps))
    assert len({seen.shape for seen in unet.control.seen}) == 1


def as_picture(depth: np.ndarray, path: Path, levels: int) -> Path:
    Image.fromarray((depth * levels).round().astype(np.uint8 if levels == 255 else np.uint16)).save(path)
    return path


def test_all_kinds_of_files_say_the_same_near_bright(files: dict[str, Path], tmp_path: Path) -> None:
    exact = read_depth(files["depth"])
    assert exact.shape == (90, 180) and (exact.min(), exact.max()) == (0, 1)
    for name, levels in (("8.png", 255), ("16.png", 65535), ("8.tiff", 255), ("16.tiff", 65535)):
        assert np.abs(read_depth(as_picture(exact, tmp_path / name, levels)) - exact).max() <= 0.5 / levels + 1e-6, name
    Image.open(tmp_path / "8.png").convert("RGBA").save(tmp_path / "rgba.png")
    assert np.array_equal(read_depth(tmp_path / "rgba.png"), read_depth(tmp_path / "8.png"))


def test_views_agree_over_the_edge_and_the_poles_on_one_scale(plain) -> None:
    control = plain.model.control.numpy()
    assert control.shape == (6, 3, SIDE, SIDE) and (control == control[:, :1]).all()
    for camera, seen in zip(CAMERAS, control, strict=True):
        assert np.abs(seen[0] - nearness(camera.directions(SIDE))).max() < 0.01
    assert control[2].max() < 0.9 and control[0].min() > 0.1  # no view is stretched to all of the range


def test_a_folder_knows_its_depth_by_content_and_goes_on(
    command: runs.Argv, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([*command, "--save_latents"]) == 0
    run, made = runs.run_json(tmp_path / "out/t"), runs.contents(tmp_path / "out/t", "*.*")
    assert run["options"]["depth"].startswith("sha256:") and run["options"]["control_scale"] == 1.0
    other = hub_folders.source_of(hub_folders.make_controlnet(tmp_path / "other", seed=1), "control_path")
    assert run["model"]["sources"]["control_path"]["sha256"] != other.identity()["sha256"]
    moved = shutil.copy(files["depth"], tmp_path / "moved.npy")
    again = [*command, "--save_latents", "--depth", str(moved), "--seed", "1", "--num_samples", "2"]
    capsys.readouterr()
    assert main.main(again) == 0 and "1 of 2 pictures to make" in "".join(capsys.readouterr())
    pictures = {name: data for name, data in runs.contents(tmp_path / "out/t", "*.*").items() if name in made}
    assert {**made, "run.json": b""} == {**pictures, "run.json": b""}
    np.save(moved, np.load(moved)[::-1])
    assert "depth: there 'sha256:" in runs.refused(capsys, again)


def edited(folder: Path, copy: Path, **fields: Any) -> Path:
    """A copy of a ControlNet with other fields in its configuration; without those that are None."""
    shutil.copytree(folder, copy)
    config = {**json.loads((copy / "config.json").read_text()), **fields}
    (copy / "config.json").write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    return copy


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(("fields", "words"), [
    ({"_class_name": "UNet2DConditionModel"}, "it is 'UNet2DConditionModel', wanted is ControlNetModel"),
    ({"cross_attention_dim": None}, "config.json does not say cross_attention_dim"),
    ({"cross_attention_dim": "32"}, 'cross_attention_dim is "32"'),
    ({"down_block_types": ["DownBlock2D"]}, "differ in length"),
    ({"conditioning_channels": 1}, "conditioning_channels is 1, wanted is 3"),
    ({"global_pool_conditions": True}, "global_pool_conditions is true"),
    ({"addition_embed_type": "text_time"}, "addition_embed_type"),
    ({"cross_attention_dim": 64}, "reads text of width 64, --sd_path {sd} 32"),
    ({"in_channels": 9}, "works on latents with channels 9"),
    ({"block_out_channels": [16, 16]}, "has blocks of channels [16, 16], --sd_path {sd} [16, 32]"),
    ({"layers_per_block": 2}, "has layers per block 2"),
    ({"conditioning_embedding_out_channels": [8, 8]}, "takes pixels per cell 2, --sd_path {sd} 8"),
])  # fmt: skip
def test_a_control_of_another_kind_or_size_is_refused_before_weights_load(
    fields, words, command, control_folder, sd_folder, tmp_path, capsys
) -> None:
    folder = edited(control_folder, tmp_path / "c", **fields)
    sentence = runs.refused(capsys, [*command, "--control_path", str(folder)])
    assert words.format(sd=sd_folder) in sentence and str(folder) in sentence and not (tmp_path / "out").exists()


def without_last(path: Path) -> None:
    tensors = load_file(path)
    save_file({name: tensors[name] for name in sorted(tensors)[:-1]}, path, metadata={"format": "pt"})


@pytest.mark.parametrize(("file", "damage", "words"), [
    ("config.json", Path.unlink, "(config.json is missing)"),
    ("config.json", lambda path: path.write_text("{"), "(config.json cannot be read)"),
    ("diffusion_pytorch_model.safetensors", Path.unlink, "has no safetensors weights: pickled"),
    ("diffusion_pytorch_model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:999]), "is damaged"),
    ("diffusion_pytorch_model.safetensors", without_last, "its file lacks "),
])  # fmt: skip
def test_damaged_controls_are_told_in_one_line(file, damage, words, command, control_folder, tmp_path, capsys) -> None:
    folder = Path(shutil.copytree(control_folder, tmp_path / "c"))
    damage(folder / file)
    sentence = runs.refused(capsys, [*command, "--control_path", str(folder)])
    assert words in sentence and str(folder) in sentence and not list(tmp_path.rglob("*.png"))


COLOURED = np.stack([np.arange(8)] * 3, axis=-1).astype(np.uint8)[None].repeat(4, 0)


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(("name", "content", "words"), [
    ("gone.png", None, "is not a regular file"),
    ("text.png", b"no picture", "is not a picture"),
    ("text.npy", b"no array", "is no readable .npy file"),
    ("square.png", np.eye(4, dtype=np.uint8), "is 4x4: give an equirectangular"),
    ("colour.png", COLOURED * np.array([1, 2, 3], np.uint8), "is in colour"),
    ("flat.png", np.full((4, 8), 7, np.uint8), "is the same everywhere"),
    ("views.npy", np.ones((2, 4, 8)), "holds float64 [2, 4, 8]"),
    ("words.npy", np.full((4, 8), "near"), "holds <U4"),
    ("infinite.npy", np.full((4, 8), np.inf), "not finite"),
])  # fmt: skip
def test_depth_that_cannot_be_read_is_refused(name, content, words, command, tmp_path, capsys) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content) if path.suffix == ".npy" else Image.fromarray(content).save(path)
    sentence = runs.refused(capsys, [*command, "--depth", str(path)])
    assert f"--depth {path}" in sentence and words in sentence


@pytest.mark.usefixtures("no_weights")
def test_depth_control_and_weights_go_together(command: runs.Argv, capsys: pytest.CaptureFixture[str]) -> None:
    base, weights, depth, control = command[:-6], command[-6:-4], command[-4:-2], command[-2:]
    assert "give --control_path too" in runs.refused(capsys, [*base, *weights, *depth])
    assert "--control_path belongs to --depth" in runs.refused(capsys, [*base, *weights, *control])
    assert "--control_scale belongs to --depth" in runs.refused(capsys, [*base, *weights, "--control_scale", "1"])
    assert "the embedded model has none: give --sd_path" in runs.refused(capsys, [*base, *depth, *control])
