"""The x4 upscaler as third stage: against a slow twin, against diffusers' own pipeline, and through main.py."""

import gc
import json
import math
import shutil
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, StableDiffusionUpscalePipeline
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTextModel

import main
from guidance import ambiguous_image_model
from guidance.ambiguous_image_app import AmbiguousImageOptions
from guidance.ambiguous_image_model import AmbiguousImageModel
from guidance.base_model import StepState
from guidance.command_line import parse
from guidance.networks.text_encoders import ClipText
from guidance.networks.upscaler import LatentUpscaler, load_upscaler
from guidance.pipeline import make_plan
from guidance.shared_options import weights_of
from tests import hub_folders, runs
from tests.analytic import ambiguous_model, asking, pixel_stages
from utils.images import to_unit_range
from utils.models.model_source import ModelSource, open_source
from utils.models.runtime import Runtime
from utils.options import options_of

one_thread = runs.one_thread
no_weights = runs.no_weights
CPU = torch.device("cpu")
PROMPTS = ("a", "b")
GUIDANCE, STEPS, LEVEL, SEED = 3.0, 3, 35, 9
LOW, HIGH = 16, 64  # side of the pictures to enlarge, and enlarged

X8_VAE = {
    "block_out_channels": [8, 8, 16, 16], "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip

# name -> view, inverse view
VIEWS: dict[str, tuple[Callable, Callable]] = {
    "identity": (lambda im: im, lambda im: im),
    "rotate_cw": (lambda im: im.rot90(-1, (-2, -1)), lambda im: im.rot90(1, (-2, -1))),
    "rotate_180": (lambda im: im.rot90(2, (-2, -1)), lambda im: im.rot90(2, (-2, -1))),
    "negate": (lambda im: -im, lambda im: -im),
}


@pytest.fixture(scope="module")
def upscaler_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hub_folders.make_upscaler(tmp_path_factory.mktemp("hub") / "upscaler")


def source_of(folder: Path) -> ModelSource:
    return open_source(str(folder), options_of(AmbiguousImageOptions)["stage_3_path"].weights, None, "stage_3_path")


@pytest.fixture(scope="module")
def embeddings(upscaler_folder: Path) -> dict[str, torch.Tensor]:
    return ClipText(source_of(upscaler_folder), Runtime(CPU)).encode_prompts(["", *PROMPTS])


@pytest.fixture(scope="module")
def upscaler(upscaler_folder: Path, embeddings: dict[str, torch.Tensor]) -> LatentUpscaler:
    return load_upscaler(source_of(upscaler_folder), embeddings, Runtime(CPU))


def model_with(upscaler: LatentUpscaler, **given) -> AmbiguousImageModel:
    """Two made-up stages of 8 and 16 pixels, and a real upscaler to 64."""
    told = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "stage_3_path": "x", "stage3_noise_level": LEVEL}
    return ambiguous_model([*pixel_stages(sizes=(8, LOW)), upscaler], **{**told, **given})


def stage_3(model: AmbiguousImageModel, prompts: tuple[str, ...] = PROMPTS) -> list[StepState]:
    return [state for state in model.generate(asking(*prompts), SEED) if state.stage == 3]


def draws(views: int, starts: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """What stage 3 draws after the other two: its x_T, and the canonical noise on its input.

    Args:
        views: of the picture.
        starts: how many noises the other stages start from; by default one per view.
    """
    generator = torch.Generator().manual_seed(SEED)
    starts = starts or views
    for shape in ((starts, 3, 8, 8), (starts, 3, LOW, LOW), (1, 3, LOW, LOW)):
        torch.randn(shape, generator=generator)
    x_ts = torch.randn(views, 4, LOW, LOW, generator=generator)
    return x_ts, torch.randn(3, LOW, LOW, generator=generator)


def last(states: Iterator[StepState]) -> StepState:
    *_, state = states
    return state


# ---------------------------------------------------------------------------------------------- the slow twin


@torch.no_grad()
def slow_velocity(upscaler: LatentUpscaler, x_t, t: int, prompt: str, low_res) -> torch.Tensor:
    null, told = (
        upscaler.denoiser.unet(
            torch.cat([x_t, low_res])[None], torch.tensor(t), upscaler.embeddings[text],
            class_labels=torch.tensor([LEVEL]),
        ).sample[0]
        for text in ("", prompt)
    )  # fmt: skip
    return null + GUIDANCE * (told - null)


@torch.no_grad()
def slow_pictures(upscaler: LatentUpscaler, x0s: torch.Tensor) -> torch.Tensor:
    return torch.stack([upscaler.space.vae.decode(x0[None] / 0.08333).sample[0] for x0 in x0s])


@torch.no_grad()
def slow_latents(upscaler: LatentUpscaler, pictures: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([upscaler.space.vae.encode(one[None]).latent_dist.mode()[0] * 0.08333 for one in pictures])


@pytest.mark.parametrize(
    ("names", "given"),
    [
        (("identity", "rotate_cw"), {}),
        (("negate", "rotate_180", "identity"), {"view_batch_size": 2}),
        (("identity", "rotate_180"), {"sync": "eps"}),
        (("identity", "rotate_180"), {"case_num": 5}),
    ],
)
def test_every_step_averages_the_decoded_x0(upscaler: LatentUpscaler, names: tuple[str, ...], given: dict) -> None:
    """Whatever the stages before averaged."""
    prompts = (*PROMPTS, "a")[: len(names)]
    states = stage_3(model_with(upscaler, views_names=list(names), **given), prompts)
    x_ts, noise = draws(len(names), starts=1 if "case_num" in given else None)
    low_res = slow_low_res(states[0].model, names, noise)
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", steps_offset=1, set_alpha_to_one=False, beta_end=0.02)
    scheduler.set_timesteps(STEPS)
    times, picture = [*scheduler.timesteps.tolist(), 0], torch.empty(0)
    for state, t, following in zip(states, times, times[1:], strict=False):
        abar, prev = (scheduler.alphas_cumprod[time].item() for time in (t, following))
        v = torch.stack([slow_velocity(upscaler, x_ts[i], t, prompts[i], low_res[i]) for i in range(len(names))])
        pictures = slow_pictures(upscaler, math.sqrt(abar) * x_ts - math.sqrt(1 - abar) * v)
        picture = sum(VIEWS[name][1](one) for name, one in zip(names, pictures, strict=True)) / len(names)
        x0s = slow_latents(upscaler, [VIEWS[name][0](picture) for name in names])
        direction = math.sqrt((1 - prev) / (1 - abar)) * (x_ts - math.sqrt(abar) * x0s)
        assert (state.z0s[0] - picture).abs().max() < 1e-4
        assert (state.x0s - x0s).abs().max() < 1e-4
        assert (state.x_t_1 - math.sqrt(prev) * x0s - direction).abs().max() < 1e-4
        x_ts = state.x_t_1
    for shown, name in zip(states[-1].model.latents()["stage_3"], names, strict=True):
        assert (shown - VIEWS[name][0](picture)).abs().max() < 1e-4


def slow_low_res(model: AmbiguousImageModel, names: tuple[str, ...], noise: torch.Tensor) -> torch.Tensor:
    """Each view's own result of stage 2, noised as diffusers does."""
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", beta_end=hub_folders.LOW_RES_BETA_END)
    seen = torch.stack([VIEWS[name][0](noise) for name in names])
    return scheduler.add_noise(model.latents()["stage_2"], seen, torch.tensor(LEVEL))


def test_steps_and_guidance_are_those_of_stage_1(upscaler: LatentUpscaler) -> None:
    given = {"stage2_num_inference_steps": 2, "stage2_guidance_scale": 1.0, "guidance_interval": [0.0, 0.5]}
    samples: list[int] = []
    hook = upscaler.denoiser.unet.register_forward_pre_hook(lambda _, inputs: samples.append(len(inputs[0])))
    states = stage_3(model_with(upscaler, **given))
    hook.remove()
    assert [(state.step, state.steps) for state in states] == [(1, STEPS), (2, STEPS), (3, STEPS)]
    assert samples == [4, 4, 2]
    assert states[0].model.stage.guidance_scale == GUIDANCE


def test_a_negative_prompt_is_told_in_the_words_of_its_own_encoder(upscaler: LatentUpscaler) -> None:
    told: list[torch.Tensor] = []
    hook = upscaler.denoiser.unet.register_forward_pre_hook(
        lambda _, inputs, named: told.append(named["encoder_hidden_states"]), with_kwargs=True
    )
    last(model_with(upscaler, num_inference_steps=1).generate(asking(*PROMPTS, negative_prompt="a"), SEED))
    hook.remove()
    assert torch.equal(told[-1], torch.cat([upscaler.embeddings[prompt] for prompt in ("a", "a", *PROMPTS)]))


# ---------------------------------------------------------------------------------------------- each view by itself


def test_views_apart_are_those_of_the_stock_pipeline(
    upscaler: LatentUpscaler, upscaler_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("identity", "rotate_cw")
    model = model_with(upscaler, views_names=list(names), sync="none")
    last(model.generate(asking(*PROMPTS), SEED))
    results, (x_ts, noise) = model.latents(), draws(2)
    pipeline = StableDiffusionUpscalePipeline.from_pretrained(upscaler_folder, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    for index, name in enumerate(names):
        drawn = VIEWS[name][0](noise)[None]
        monkeypatch.setattr(
            "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_upscale.randn_tensor",
            lambda *_, drawn=drawn, **__: drawn,
        )
        theirs = pipeline(
            PROMPTS[index], results["stage_2"][index : index + 1], num_inference_steps=STEPS, noise_level=LEVEL,
            guidance_scale=GUIDANCE, latents=x_ts[index : index + 1], output_type="pt",
        ).images  # fmt: skip
        assert theirs.shape == (1, 3, HIGH, HIGH) and theirs.std() > 0.01
        assert (to_unit_range(results["stage_3"][index]) - theirs[0]).abs().max() < 1e-4


def test_text_is_encoded_as_by_the_stock_pipeline(upscaler_folder: Path, embeddings: dict) -> None:
    pipeline = StableDiffusionUpscalePipeline.from_pretrained(upscaler_folder, use_safetensors=True)
    for prompt in PROMPTS:
        told, null = pipeline.encode_prompt(prompt, CPU, 1, True)
        assert torch.equal(embeddings[prompt], told) and torch.equal(embeddings[""], null)


# ---------------------------------------------------------------------------------------------- what views show


@pytest.mark.parametrize("sync", ["x0", "xt"])
def test_orthogonal_views_agree_to_the_bit(upscaler: LatentUpscaler, sync: str) -> None:
    model = model_with(upscaler, sync=sync, num_inference_steps=2)
    state = last(model.generate(asking(*PROMPTS), SEED))
    first, second = model.latents()["stage_3"]
    assert first.shape == (3, HIGH, HIGH) and torch.equal(second, VIEWS["rotate_cw"][0](first))
    files = [{"file": f"{index}.png", "role": "view", "view": index} for index in (0, 1)]
    shown = [np.asarray(image) for image in model.render(state, files).values()]
    assert shown[0].shape == (HIGH, HIGH, 3) and np.array_equal(np.rot90(shown[0], -1), shown[1])
    assert model.preview(state).size == (2 * HIGH, HIGH)


@pytest.mark.parametrize("given", [{"sync": "none"}, {"mvd_end": 0.5}])
def test_views_that_end_apart_are_shown_as_they_are(upscaler: LatentUpscaler, given: dict) -> None:
    model = model_with(upscaler, num_inference_steps=2, **given)
    state = last(model.generate(asking(*PROMPTS), SEED))
    shown = model.latents()["stage_3"]
    assert (shown[1] - VIEWS["rotate_cw"][0](shown[0])).abs().max() > 1e-3
    assert torch.equal(shown, upscaler.space.decode(state.x_t_1))


@pytest.mark.parametrize("given", [{}, {"case_num": 5}, {"initialize_xt_from_zt": True}])
def test_all_noise_on_latents_is_the_views_own(upscaler: LatentUpscaler, given: dict) -> None:
    """Noise on the canvas, encoded, would be none."""
    model, shapes = model_with(upscaler, num_inference_steps=2, eta=1.0, **given), []
    draw = model._randn
    model._randn = lambda shape, generator: shapes.append(tuple(shape)) or draw(shape, generator)
    last(model.generate(asking(*PROMPTS), SEED))
    assert shapes[-4:] == [(2, 4, LOW, LOW), (1, 3, LOW, LOW), (2, 4, LOW, LOW), (2, 4, LOW, LOW)]


@pytest.mark.parametrize(("sync", "decoded", "encoded"), [("x0", 4, 4), ("none", 2, 0)])
def test_a_step_decodes_and_encodes_every_view_once(
    upscaler: LatentUpscaler, monkeypatch: pytest.MonkeyPatch, sync: str, decoded: int, encoded: int
) -> None:
    counts = {"decode": 0, "encode": 0}
    for name in counts:
        call = getattr(upscaler.space.vae, name)

        def counted(batch, *args, name=name, call=call, **kwargs):
            counts[name] += len(batch)
            assert len(batch) == 1
            return call(batch, *args, **kwargs)

        monkeypatch.setattr(upscaler.space.vae, name, counted)
    last(model_with(upscaler, sync=sync, num_inference_steps=2).generate(asking(*PROMPTS), SEED))
    assert counts == {"decode": decoded, "encode": encoded}


def test_components_share_their_noise_and_sum_to_the_picture(upscaler: LatentUpscaler) -> None:
    names = ["low_pass:sigma=0.1", "high_pass:sigma=0.1"]
    model = model_with(upscaler, views_names=names, num_inference_steps=2)
    states = stage_3(model)
    for state in states:
        assert (state.x_t_1[0] - state.x_t_1[1]).abs().max() < 1e-5
    whole = model.latents()["stage_3"]
    assert torch.equal(whole[0], whole[1]) and torch.equal(whole[:1], states[-1].z0s)
    files = [{"file": "w", "role": "whole"}, {"file": "s", "role": "side_by_side"}]
    assert [image.size for image in model.render(states[-1], files).values()] == [(HIGH, HIGH), (3 * HIGH, HIGH)]


def test_a_held_view_says_the_photograph(upscaler: LatentUpscaler, tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 256, (HIGH, HIGH, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "photo.png")
    photograph = torch.from_numpy(values).permute(2, 0, 1)[None] / 127.5 - 1
    given = {"ref_image": str(tmp_path / "photo.png"), "prompts": ["a"], "num_inference_steps": 2, "sync": "none"}
    states = stage_3(model_with(upscaler, **given), ("a",))
    expected = slow_latents(upscaler, [photograph[0]])[0]
    for state in states:
        assert (state.x0s[0] - expected).abs().max() < 1e-4
        assert (state.x0s[1] - expected).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(upscaler_folder: Path, embeddings: dict, dtype: torch.dtype) -> None:
    """The VAE, which overflows in float16, stays in float32 there; the state always does."""
    stage = load_upscaler(source_of(upscaler_folder), embeddings, Runtime(CPU, dtype))
    vae = torch.float32 if dtype == torch.float16 else dtype
    assert (stage.denoiser.unet.dtype, stage.space.vae.dtype) == (dtype, vae)
    model = model_with(stage, num_inference_steps=2)
    state = last(model.generate(asking(*PROMPTS), SEED))
    assert state.x_t_1.dtype == state.z0s.dtype == torch.float32
    assert torch.isfinite(model.latents()["stage_3"]).all()


# ---------------------------------------------------------------------------------------------- through main.py


@pytest.fixture
def argv(if_stage_1_folder: Path, if_stage_2_folder: Path, upscaler_folder: Path, tmp_path: Path) -> runs.Argv:
    extra = ("--style", "", "--prompts", "a", "b", "--save_latents")
    return runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path, "--stage_3_path", upscaler_folder, *extra)


def test_a_run_can_be_repeated_from_run_json_alone(argv: runs.Argv, upscaler_folder: Path, tmp_path: Path) -> None:
    assert main.main([*argv, "--stage3_noise_level", "50", "--log_step", "2"]) == 0
    run = runs.run_json(tmp_path / "t")
    assert run["model"]["sources"]["stage_3_path"]["name"] == str(upscaler_folder)
    assert run["options"]["stage3_noise_level"] == 50 and "stage_3_path" not in run["options"]
    with Image.open(tmp_path / "t" / "a.png") as picture:
        assert picture.size == (256, 256)
    (file,) = (tmp_path / "t").glob("*.safetensors")
    latents = load_file(file)
    assert {name: tuple(latent.shape) for name, latent in latents.items()} == {
        "stage_1": (2, 3, 16, 16), "stage_2": (2, 3, 64, 64), "stage_3": (2, 3, 256, 256)
    }  # fmt: skip
    with Image.open(next((tmp_path / "t" / "previews").rglob("stage_3_step_0002.png"))) as preview:
        assert preview.size == (512, 256)
    again = runs.repeat_arguments(run, 0)
    assert main.main([*again, "--save_top_dir", str(tmp_path / "b"), "--tag", "t", "--device", "cpu"]) == 0
    assert runs.contents(tmp_path / "t") == runs.contents(tmp_path / "b" / "t")
    assert runs.comparable(run) == runs.comparable(runs.run_json(tmp_path / "b" / "t"))


def test_offloading_changes_nothing(argv: runs.Argv, tmp_path: Path) -> None:
    for tag in ("plain", "offload"):
        assert main.main([*argv, "--tag", tag, *(["--offload"] if tag == "offload" else [])]) == 0
    files = [next((tmp_path / tag).glob("*.safetensors")) for tag in ("plain", "offload")]
    plain, offloaded = (load_file(file)["stage_3"] for file in files)
    assert (plain - offloaded).abs().max() <= 1e-5


def test_both_text_encoders_are_gone_before_networks_load(argv: runs.Argv, monkeypatch: pytest.MonkeyPatch) -> None:
    encoders, still_here = [], []
    load = CLIPTextModel.from_pretrained

    def watched(*args, **kwargs):
        encoder, report = load(*args, **kwargs)
        encoders.append(weakref.ref(encoder))
        return encoder, report

    def loading(*args):
        gc.collect()
        still_here.extend(encoder() is not None for encoder in encoders)
        raise RuntimeError("seen enough")

    monkeypatch.setattr(CLIPTextModel, "from_pretrained", watched)
    monkeypatch.setattr(ambiguous_image_model, "load_deepfloyd_stage", loading)
    with pytest.raises(RuntimeError, match="seen enough"):
        main.main(argv)
    assert still_here == [False]


def test_a_run_without_it_keeps_its_header(if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path) -> None:
    plan = make_plan(*parse(runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path)))
    assert list(plan.sources) == ["stage_1_path", "stage_2_path"]
    assert plan.options.pinned()["stage3_noise_level"] is None  # as in folders that never heard of it
    assert "stage_3_path" not in plan.options.pinned()


def test_it_serves_the_embedded_model_too(upscaler_folder: Path) -> None:
    argv = ["--app", "ambiguous_image", "--model", "tiny", "--stage_3_path", str(upscaler_folder)]
    options = runs.filled(argv, "tiny")
    assert list(weights_of(options, AmbiguousImageOptions)) == ["stage_1_path", "stage_2_path", "stage_3_path"]
    assert options.stage3_noise_level == 20


# ---------------------------------------------------------------------------------------------- what is refused


def changed(folder: Path, copy: Path, file: str, **values) -> Path:
    shutil.copytree(folder, copy)
    path = copy / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return copy


@pytest.mark.parametrize(
    ("file", "values", "said"),
    [
        ("unet/config.json", {"in_channels": 4}, "this has 4"),
        ("unet/config.json", {"num_class_embeds": None}, "noise level"),
        ("vae/config.json", X8_VAE, "this has x8"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "'sample'"),
    ],
)
def test_other_weights_are_told_before_any_are_loaded(
    argv: runs.Argv, upscaler_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], no_weights: None,
    file: str, values: dict, said: str,
) -> None:  # fmt: skip
    folder = changed(upscaler_folder, tmp_path / "other", file, **values)
    assert said in runs.refused(capsys, [*argv, "--stage_3_path", str(folder)])


def test_folders_that_lack_something_are_refused(
    argv: runs.Argv, sd_folder: Path, if_stage_2_folder: Path, upscaler_folder: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], no_weights: None,
) -> None:  # fmt: skip
    assert "no low_res_scheduler/ folder" in runs.refused(capsys, [*argv, "--stage_3_path", str(sd_folder)])
    assert "no vae/ folder" in runs.refused(capsys, [*argv, "--stage_3_path", str(if_stage_2_folder)])
    lacking = shutil.copytree(upscaler_folder, tmp_path / "lacking")
    next((lacking / "vae").glob("*.safetensors")).unlink()
    assert "weights in vae" in runs.refused(capsys, [*argv, "--stage_3_path", str(lacking)])


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--stage3_noise_level", "20"], "--stage_3_path"),
        (["--stage_3_path", "x", "--stage3_noise_level", "351"], "0 to 350"),
    ],
)
def test_options_that_do_not_fit(extra: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in runs.refused(capsys, ["--app", "ambiguous_image", *extra])
