"""Both kinds of folders load in every number format, are encoded as diffusers encodes, and give their memory back."""

import json
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.hooks import UserCpuOffloadHook
from diffusers import AutoencoderKL, DDPMScheduler, IFPipeline, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, T5EncoderModel

import main
from guidance import ambiguous_image_model, load_pipeline
from guidance.ambiguous_image_model import AmbiguousImageModel
from guidance.networks import deepfloyd, text_encoders
from guidance.networks.deepfloyd import load_deepfloyd_stage
from guidance.networks.stable_diffusion import load_stable_diffusion
from guidance.networks.text_encoders import ClipText, Embeddings, T5Text, TextEncoder
from guidance.networks.upscaler import load_upscaler
from guidance.schedule import Schedule
from guidance.wide_image_model import WideImageModel
from tests import hub_folders, runs
from utils.models import hub_layout
from utils.models.model_source import ModelSource
from utils.models.runtime import Runtime

one_thread = runs.one_thread
CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[1]
PROMPTS = ["A photo of a mountain range at twilight", "an oil painting, café 🙂 1024x768", "x" * 3000]


@pytest.fixture(autouse=True)
def fresh_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIFFUSION_SYNC_CACHE", str(tmp_path / "cache"))


def sd_source(folder: Path) -> ModelSource:
    return hub_folders.source_of(folder, "sd_path")


def stage_source(folder: Path, number: int) -> ModelSource:
    return hub_folders.source_of(folder, f"stage_{number}_path")


def as_fp16_files(folder: Path, copy: Path) -> Path:
    """The same folder with its weights in ``x.fp16.safetensors`` alone, as the Hub keeps them."""
    shutil.copytree(folder, copy)
    for file in list(copy.glob("*/*.safetensors")):
        weights = {name: weight.half() for name, weight in load_file(file).items()}
        save_file(weights, file.with_name(f"{file.stem}.fp16.safetensors"), metadata={"format": "pt"})
        file.unlink()
    return copy


# ---------------------------------------------------------------------------------------------- number formats


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("variant", ["plain", "fp16"])
def test_folders_load(
    dtype: torch.dtype, variant: str, sd_folder: Path, if_stage_2_folder: Path, tmp_path: Path
) -> None:
    folders = [sd_folder, if_stage_2_folder]
    if variant == "fp16":
        folders = [as_fp16_files(folder, tmp_path / str(index)) for index, folder in enumerate(folders)]
    runtime = Runtime(CPU, dtype)
    model = load_stable_diffusion(sd_source(folders[0]), runtime)
    stage = load_deepfloyd_stage(stage_source(folders[1], 2), runtime)
    assert (model.window, model.vae_scale, model.channels, stage.size) == (8, 8, 4, 64)
    for network in (model.denoiser.unet, model.space.vae, stage.denoiser.unet):
        assert network.dtype == dtype and not network.training
        assert not any(weight.requires_grad for weight in network.parameters())
    assert model.text.encode_prompts(["a"])["a"].dtype == dtype
    expected = load_file(next((folders[0] / "unet").glob("*.safetensors")))
    for name, weight in model.denoiser.unet.state_dict().items():
        assert torch.equal(weight, expected[name].to(dtype)), name


def test_both_apps_run_in_bfloat16_and_from_fp16_files(
    sd_folder: Path, if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path
) -> None:
    sd, stage_1 = (as_fp16_files(f, tmp_path / f.name) for f in (sd_folder, if_stage_1_folder))
    assert main.main(runs.wide(sd, tmp_path / "wide", "--dtype", "bfloat16")) == 0
    assert main.main(runs.ambiguous(stage_1, if_stage_2_folder, tmp_path / "pair", "--dtype", "bfloat16")) == 0
    for app in ("wide", "pair"):
        run = runs.run_json(tmp_path / app / "t")
        assert run["options"]["dtype"] == "bfloat16" and run["pictures"][0]["status"] == "done"


def test_fp16_files_are_taken_on_request(sd_folder: Path, tmp_path: Path) -> None:
    folder = as_fp16_files(sd_folder, tmp_path / "m")
    for component in ("unet", "vae", "text_encoder"):
        for file in (sd_folder / component).glob("*.safetensors"):
            shutil.copy(file, folder / component)
    plain, half = (load_stable_diffusion(sd_source(folder), Runtime(CPU, variant=v)) for v in ("auto", "fp16"))
    first, second = (model.denoiser.unet.conv_out.weight for model in (plain, half))
    assert not torch.equal(first, second) and torch.equal(first.half().float(), second)


def test_a_model_with_a_safety_checker_loads_without_it(sd_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sd_folder, tmp_path / "m")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
              "feature_extractor": ["transformers", "CLIPImageProcessor"]}  # fmt: skip
    (folder / "model_index.json").write_text(json.dumps(index))
    assert load_stable_diffusion(sd_source(folder), Runtime(CPU)).window == 8


def test_v_prediction_weights_run_and_are_read_as_such(sd_folder: Path, tmp_path: Path) -> None:
    folder = hub_folders.make_stable_diffusion(tmp_path / "v", prediction_type="v_prediction")
    for name, path in (("eps", sd_folder), ("v", folder)):
        assert main.main(runs.wide(path, tmp_path / name, "--prompt", "a")) == 0
    eps, v = (runs.shown(tmp_path / name / "t") for name in ("eps", "v"))
    assert eps.keys() == v.keys() and all(eps[name] != v[name] for name in eps)


@pytest.mark.parametrize("prediction", ["sample", "x0"])
def test_other_predictions_are_refused(
    prediction: str, sd_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(sd_folder, tmp_path / "m")
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(file.read_text().replace('"epsilon"', f'"{prediction}"'))
    with pytest.raises(SystemExit) as ending:
        main.main(runs.wide(folder, tmp_path / "out"))
    assert ending.value.code == 2 and prediction in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


LOAD_AND_WEIGH = """
import re, sys
from pathlib import Path
from guidance import load_pipeline
import guidance.wide_image_model
def own():
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = own()
given = {"dtype": "float32", "device": "cpu", "panorama_width": 64, "num_inference_steps": 1}
pipe = load_pipeline("wide_image", sd_path=sys.argv[1], **given)
pipe("a")  # reads all that is mapped
print(own() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_weights_are_never_twice_in_memory(sd_folder: Path, tmp_path: Path) -> None:
    """Beside pages of the mapped file, which the system drops when it needs them."""
    folder = shutil.copytree(sd_folder, tmp_path / "m")
    sizes = hub_folders.SD_UNET_SIZES | {"block_out_channels": (256, 320), "norm_num_groups": 32}
    unet = hub_layout.build_model("unet", hub_layout.SD_UNET | sizes)
    unet.save_pretrained(folder / "unet")
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    command = [sys.executable, "-W", "ignore", "-c", LOAD_AND_WEIGH, str(folder)]
    grown = int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()[-1])
    assert size > 100e6 and grown < 1.4 * size


# ---------------------------------------------------------------------------------------------- CLIP


def test_embeddings_are_those_of_stable_diffusion(sd_folder: Path) -> None:
    mine = ClipText(sd_source(sd_folder), Runtime(CPU)).encode_prompts(["", *PROMPTS])
    theirs = StableDiffusionPipeline.from_pretrained(sd_folder, safety_checker=None, use_safetensors=True)
    padded = theirs.tokenizer("a", padding="max_length", max_length=77).input_ids
    assert padded[3:] == [0] * 74  # "!", as the folder's legacy files say
    for prompt in ["", *PROMPTS]:
        positive, negative = theirs.encode_prompt(prompt, CPU, 1, True)
        assert torch.equal(mine[prompt], positive) and torch.equal(mine[""], negative)


# ---------------------------------------------------------------------------------------------- T5


def test_the_cache_knows_negative_prompts(
    if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there is not encoded again, what is new is encoded alone."""
    encoded, embed = [], T5Text._embed

    def counting(encoder: T5Text, prompt: str, *networks: Any) -> torch.Tensor:
        encoded.append(prompt)
        return embed(encoder, prompt, *networks)

    monkeypatch.setattr(T5Text, "_embed", counting)
    given = ("--num_inference_steps", 1, "--style", "x", "--prompts", "a", "b")
    argv = runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path, *given)
    for negative, new in (("haze", ["", "x a", "x b", "haze"]), ("blur", ["blur"]), ("haze", []), (None, [])):
        encoded.clear()
        tag = f"{negative}-{len(new)}"
        assert main.main([*argv, "--tag", tag, *([] if negative is None else ["--negative_prompt", negative])]) == 0
        assert encoded == new
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 5
    first, again, other = (runs.shown(tmp_path / tag) for tag in ("haze-4", "haze-0", "blur-1"))
    assert first == again and first != other


@pytest.fixture
def encoder_loads(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref]:
    """Weak references to every text encoder that is loaded."""
    loads: list[weakref.ref] = []
    for network_class in (CLIPTextModel, T5EncoderModel):
        monkeypatch.setattr(network_class, "from_pretrained", counted(network_class.from_pretrained, loads))
    return loads


def counted(load: Callable[..., Any], loads: list[weakref.ref]) -> Callable[..., Any]:
    def load_and_count(*args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        encoder, report = load(*args, **kwargs)
        loads.append(weakref.ref(encoder))
        return encoder, report

    return load_and_count


def t5_embeddings(source: ModelSource, prompts: list[str], dtype: torch.dtype = torch.float32) -> Embeddings:
    """What a process that knows nothing yet makes of prompts."""
    return T5Text(source, Runtime(CPU, dtype)).encode_prompts(prompts)


def test_t5_embeddings_are_those_of_deepfloyd(if_stage_1_folder: Path) -> None:
    mine = t5_embeddings(stage_source(if_stage_1_folder, 1), ["", *PROMPTS])
    theirs = IFPipeline.from_pretrained(
        if_stage_1_folder, safety_checker=None, feature_extractor=None, watermarker=None,
        requires_safety_checker=False, use_safetensors=True,
    )  # fmt: skip
    for prompt in PROMPTS:
        positive, negative = theirs.encode_prompt(prompt, clean_caption=False)
        assert mine[prompt].shape == (1, 77, hub_folders.TEXT_WIDTH)
        assert torch.equal(mine[prompt], positive) and torch.equal(mine[""], negative)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def rename_key(path: Path) -> None:
    save_file({"embeddings": load_file(path)["embedding"]}, path)


def shorten(path: Path) -> None:
    save_file({"embedding": load_file(path)["embedding"][:, :50].clone()}, path)


def halve(path: Path) -> None:
    save_file({"embedding": load_file(path)["embedding"].half()}, path)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, empty, rename_key, shorten, halve, make_folder])
def test_a_damaged_file_in_the_cache_counts_as_missing(
    damage: Callable[[Path], None], if_stage_1_folder: Path, tmp_path: Path, encoder_loads: list[weakref.ref]
) -> None:
    source = stage_source(if_stage_1_folder, 1)
    first = t5_embeddings(source, ["a"])
    (file,) = (tmp_path / "cache").rglob("*.safetensors")
    whole = file.read_bytes()
    damage(file)
    assert torch.equal(t5_embeddings(source, ["a"])["a"], first["a"]) and len(encoder_loads) == 2
    if damage is make_folder:  # which cannot be written over
        assert file.is_dir() and list(file.parent.iterdir()) == [file]
    else:
        assert file.read_bytes() == whole


def test_an_unreadable_cache_costs_time_alone(
    if_stage_1_folder: Path, monkeypatch: pytest.MonkeyPatch, encoder_loads: list[weakref.ref]
) -> None:
    def forbidden(*_: Any) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(text_encoders, "load_file", forbidden)
    monkeypatch.setattr(text_encoders, "write_atomic", forbidden)
    source = stage_source(if_stage_1_folder, 1)
    assert torch.equal(t5_embeddings(source, ["a"])["a"], t5_embeddings(source, ["a"])["a"])
    assert len(encoder_loads) == 2


def test_the_cache_is_keyed_by_content(
    if_stage_1_folder: Path, tmp_path: Path, encoder_loads: list[weakref.ref]
) -> None:
    source = stage_source(if_stage_1_folder, 1)
    first = t5_embeddings(source, ["a", "b"])
    assert len(encoder_loads) == 1
    moved = shutil.copytree(if_stage_1_folder, tmp_path / "moved")
    again = t5_embeddings(stage_source(moved, 1), ["b", "a"])
    assert len(encoder_loads) == 1 and all(torch.equal(first[prompt], again[prompt]) for prompt in first)
    t5_embeddings(source, ["a", "c"])
    assert len(encoder_loads) == 2
    t5_embeddings(source, ["a"], torch.bfloat16)
    assert len(encoder_loads) == 3
    file = moved / "text_encoder" / "model.safetensors"
    save_file({name: 2 * weight for name, weight in load_file(file).items()}, file, metadata={"format": "pt"})
    other = t5_embeddings(stage_source(moved, 1), ["a"])
    assert len(encoder_loads) == 4 and not torch.equal(other["a"], first["a"])


def test_a_second_run_needs_no_encoder(
    if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main.main(runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path / "1")) == 0

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("the T5 encoder was loaded again")

    monkeypatch.setattr(T5EncoderModel, "from_pretrained", forbidden)
    assert main.main(runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path / "2")) == 0
    assert runs.contents(tmp_path / "1" / "t") == runs.contents(tmp_path / "2" / "t")


def test_the_encoder_is_gone_before_the_networks_load(
    if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    encoder_loads: list[weakref.ref],
) -> None:  # fmt: skip
    still_here: list[bool] = []

    def load(source: ModelSource, runtime: Runtime) -> deepfloyd.PixelStage:
        still_here.extend(encoder() is not None for encoder in encoder_loads)
        return load_deepfloyd_stage(source, runtime)

    monkeypatch.setattr(ambiguous_image_model, "load_deepfloyd_stage", load)
    assert main.main(runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path)) == 0
    assert still_here == [False, False]


# ---------------------------------------------------------------------------------------------- further prompts


@pytest.mark.parametrize(("kind", "option"), [(ClipText, "sd_path"), (T5Text, "stage_1_path")])
def test_prompts_may_come_at_any_time(
    kind: type[TextEncoder], option: str, sd_folder: Path, if_stage_1_folder: Path, encoder_loads: list[weakref.ref]
) -> None:
    folder = {"sd_path": sd_folder, "stage_1_path": if_stage_1_folder}[option]
    text = kind(hub_folders.source_of(folder, option), Runtime(CPU))
    first = dict(text.encode_prompts(["", "a"]))
    assert text.encode_prompts(["a", ""]) == text.embeddings and len(encoder_loads) == 1
    both = text.encode_prompts(["b", "a"])
    assert len(encoder_loads) == 2 and [encoder() for encoder in encoder_loads] == [None, None]
    assert list(both) == ["", "a", "b"] and all(both[prompt] is first[prompt] for prompt in first)
    together = kind(hub_folders.source_of(folder, option), Runtime(CPU)).encode_prompts(["b", "a", ""])
    assert all(torch.equal(both[prompt], together[prompt]) for prompt in ("", "a", "b"))


def test_networks_are_loaded_once_however_many_prompts_come(
    if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    encoder_loads: list[weakref.ref],
) -> None:  # fmt: skip
    networks: list[weakref.ref] = []
    for network_class in (UNet2DConditionModel, AutoencoderKL):
        monkeypatch.setattr(network_class, "from_pretrained", counted(network_class.from_pretrained, networks))
    paths = {"stage_1_path": if_stage_1_folder, "stage_2_path": if_stage_2_folder,
             "stage_3_path": hub_folders.make_upscaler(tmp_path / "m")}  # fmt: skip
    given = {"dtype": "float32", "device": "cpu", "style": "", "num_inference_steps": 1}
    given |= {name: str(path) for name, path in paths.items()}
    pipe = load_pipeline("ambiguous_image", **given)
    first = pipe(["a", "b"], seed=1).latents["stage_3"]
    assert (len(networks), len(encoder_loads)) == (4, 2)
    other = pipe(["c", "a"], seed=1).latents["stage_3"]
    assert (len(networks), len(encoder_loads)) == (4, 4) and not torch.equal(first, other)
    assert torch.equal(pipe(["a", "b"], seed=1).latents["stage_3"], first)
    assert (len(networks), len(encoder_loads)) == (4, 4)


def test_networks_make_room_for_a_text_encoder(sd_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, pushed_out = Runtime(CPU, offload=True), []
    model = load_stable_diffusion(sd_source(sd_folder), runtime)
    monkeypatch.setattr(UserCpuOffloadHook, "offload", lambda hook: pushed_out.append(hook.model))
    model.text.encode_prompts(["a"])
    assert pushed_out == [model.denoiser.unet, model.space.vae]
    model.text.encode_prompts(["a"])
    assert len(pushed_out) == 2


# ---------------------------------------------------------------------------------------------- latents and noise


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_latents_are_decoded_by_the_formula_to_the_bit(dtype: torch.dtype, sd_folder: Path) -> None:
    """The division is in the VAE's number format, the picture in float32, however many are decoded at once."""
    model = load_stable_diffusion(sd_source(sd_folder), Runtime(CPU, dtype))
    latents = 5 * torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = [model.space.vae.decode(latent[None].to(dtype) / 0.18215).sample.float() for latent in latents]
    pictures = model.decode(latents.double())
    assert pictures.dtype == torch.float32 and torch.equal(pictures, torch.cat(expected))
    assert torch.equal(model.decode(latents[1:]), expected[1])


def test_channels_are_those_of_the_vae(sd_folder: Path) -> None:
    model = load_stable_diffusion(sd_source(sd_folder), Runtime(CPU))
    model.denoiser.unet.register_to_config(in_channels=9)
    assert model.channels == model.space.vae.config.latent_channels == 4


@pytest.mark.parametrize(
    ("make", "option", "noising"),
    [
        (hub_folders.make_if_stage_2, "stage_2_path", "image_noising_scheduler"),
        (hub_folders.make_upscaler, "stage_3_path", "low_res_scheduler"),
    ],
)
def test_pictures_to_enlarge_get_the_noise_of_their_own_scheduler(
    make: Callable[[Path], Path], option: str, noising: str, tmp_path: Path
) -> None:
    source = hub_folders.source_of(make(tmp_path / "m"), option)
    load = {"stage_2_path": load_deepfloyd_stage, "stage_3_path": partial(load_upscaler, embeddings={})}[option]
    stage = load(source, runtime=Runtime(CPU))
    own, other = (DDPMScheduler.from_pretrained(tmp_path / "m", subfolder=part) for part in (noising, "scheduler"))
    assert torch.equal(stage.noising_alphas_cumprod, own.alphas_cumprod.double())
    assert torch.equal(stage.denoiser.alphas_cumprod, other.alphas_cumprod.double())
    assert not torch.equal(own.alphas_cumprod, other.alphas_cumprod)


def test_models_that_do_not_say_how_latents_are_scaled(sd_folder: Path, tmp_path: Path) -> None:
    folders = [shutil.copytree(sd_folder, tmp_path / "sd"), hub_folders.make_upscaler(tmp_path / "x4")]
    for folder in folders:
        without_field(folder, "vae/config.json", "scaling_factor")
    runtime = Runtime(CPU)
    assert load_stable_diffusion(sd_source(folders[0]), runtime).space.scaling_factor == 0.18215
    assert load_upscaler(stage_source(folders[1], 3), {}, runtime).space.scaling_factor == 0.08333


def without_field(folder: Path, file: str, field: str) -> Path:
    """Take a field out of a JSON file of a model."""
    config = json.loads((folder / file).read_text())
    del config[field]
    (folder / file).write_text(json.dumps(config))
    return folder


def test_the_asked_for_spacing_is_taken_where_the_model_names_none(sd_folder: Path, tmp_path: Path) -> None:
    """As in Stable Diffusion 2; steps have the offset of diffusers' pipeline even where an old model lacks it."""
    folder = shutil.copytree(sd_folder, tmp_path / "m")
    for field in ("timestep_spacing", "steps_offset"):
        without_field(folder, "scheduler/scheduler_config.json", field)
    config = load_stable_diffusion(sd_source(folder), Runtime(CPU)).denoiser.scheduler_config
    assert Schedule.from_config(config, 4, "trailing").timesteps == (999, 749, 499, 249)
    assert Schedule.from_config(config, 4).timesteps == (751, 501, 251, 1)


# ---------------------------------------------------------------------------------------------- offloading


@pytest.mark.parametrize("app", ["wide", "pair"])
def test_offloading_changes_nothing_and_is_real(
    app: str, sd_folder: Path, if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    hooked: list[bool] = []
    model_class = WideImageModel if app == "wide" else AmbiguousImageModel
    render = model_class.render

    def watched(self: Any, *args: Any) -> Any:
        networks = [self.latent_model.denoiser.unet, self.latent_model.space.vae] if app == "wide" else []
        networks += [stage.denoiser.unet for stage in getattr(self, "stages", [])]
        hooked.extend(hasattr(network, "_hf_hook") for network in networks)
        return render(self, *args)

    monkeypatch.setattr(model_class, "render", watched)
    states = []
    for name, extra in (("plain", []), ("offload", ["--offload"])):
        top = tmp_path / name
        argv = (
            runs.wide(sd_folder, top, "--save_latents", *extra)
            if app == "wide"
            else runs.ambiguous(if_stage_1_folder, if_stage_2_folder, top, "--save_latents", *extra)
        )
        assert main.main(argv) == 0
        (file,) = (top / "t").glob("*.safetensors")
        states.append(load_file(file))
    assert hooked == [False, False, True, True]
    for name, plain in states[0].items():
        assert (plain - states[1][name]).abs().max() <= 1e-5


# ---------------------------------------------------------------------------------------------- damaged files


@pytest.mark.parametrize("file", ["unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"])
@pytest.mark.parametrize("app", ["wide", "pair"])
def test_truncated_weights_are_told_in_a_sentence(
    app: str, file: str, sd_folder: Path, if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = shutil.copytree(sd_folder if app == "wide" else if_stage_1_folder, tmp_path / "m")
    (folder / file).write_bytes((folder / file).read_bytes()[:5000])
    out = tmp_path / "out"
    argv = runs.wide(folder, out) if app == "wide" else runs.ambiguous(folder, if_stage_2_folder, out)
    assert f"{folder} cannot be loaded" in runs.refused(capsys, argv)
    assert not list(out.rglob("*.png"))
