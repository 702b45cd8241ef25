"""The random pipelines load with plain diffusers, as the Hub's folders do, and their networks do something."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, IFPipeline, IFSuperResolutionPipeline, StableDiffusionPipeline
from open_clip import tokenize
from safetensors.torch import load_file

from tests import hub_folders

WITHOUT_SAFETY = {"safety_checker": None, "feature_extractor": None, "watermarker": None}
PROMPTS = (
    "A photo of a mountain range at twilight",
    "an oil painting, of people at the campfire... 35mm; f/1.8",
    "  Überall   naïve café's   日本 🙂 <tag> don't_stop 1024x768 ",
    "",
)


def load(folder: Path, variant: str | None = None) -> DiffusionPipeline:
    """The pipeline as documented for these libraries: safetensors only, without safety checker."""
    index = json.loads((folder / "model_index.json").read_text())
    classes = {c.__name__: c for c in (StableDiffusionPipeline, IFPipeline, IFSuperResolutionPipeline)}
    without = WITHOUT_SAFETY if "watermarker" in index else {"safety_checker": None, "feature_extractor": None}
    return classes[index["_class_name"]].from_pretrained(
        folder, use_safetensors=True, variant=variant, requires_safety_checker=False, **without
    )


@pytest.fixture(scope="module")
def sd(sd_folder: Path) -> StableDiffusionPipeline:
    return load(sd_folder)


@torch.no_grad()
def predict(pipe: DiffusionPipeline, prompt: str, t: int, level: float | None = None, seed: int = 0) -> torch.Tensor:
    """One call of the UNet on fixed noise `[1,C,h,w]`."""
    embeds = pipe.encode_prompt(prompt, "cpu", 1, False)[0] if hasattr(pipe, "vae") else pipe.encode_prompt(prompt)[0]
    size, channels = pipe.unet.config.sample_size, pipe.unet.config.in_channels
    x_t = torch.randn((1, channels, size, size), generator=torch.Generator().manual_seed(seed))
    labels = None if level is None else torch.tensor([level])
    return pipe.unet(x_t, t, embeds, class_labels=labels).sample


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().mean())


def test_stable_diffusion_layout(sd_folder: Path) -> None:
    files = {str(path.relative_to(sd_folder)) for path in sd_folder.rglob("*") if path.is_file()}
    assert files == {
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    }


def test_text_encoder_weights_are_named_as_on_the_hub(sd_folder: Path, if_stage_1_folder: Path) -> None:
    clip = load_file(sd_folder / "text_encoder/model.safetensors")
    assert "text_model.embeddings.token_embedding.weight" in clip
    assert "text_model.encoder.layers.1.self_attn.q_proj.weight" in clip
    t5 = load_file(if_stage_1_folder / "text_encoder/model.safetensors")
    assert {"shared.weight", "encoder.block.1.layer.0.SelfAttention.q.weight"} <= set(t5)
    assert "encoder.embed_tokens.weight" not in t5


def test_saved_text_encoders_are_the_loaded_ones(sd: StableDiffusionPipeline, sd_folder: Path) -> None:
    saved = load_file(sd_folder / "text_encoder/model.safetensors")
    loaded = {"text_model." + name.removeprefix("text_model."): w for name, w in sd.text_encoder.state_dict().items()}
    assert all(torch.equal(loaded[name], weight) for name, weight in saved.items())


def test_t5_has_one_table_of_embeddings(if_stage_1_folder: Path) -> None:
    encoder = load(if_stage_1_folder).text_encoder
    saved = load_file(if_stage_1_folder / "text_encoder/model.safetensors")["shared.weight"]
    assert torch.equal(encoder.get_input_embeddings().weight, saved)
    assert torch.equal(encoder.encoder.embed_tokens.weight, saved)


def test_stable_diffusion_loads(sd: StableDiffusionPipeline) -> None:
    assert type(sd.scheduler).__name__ == "PNDMScheduler"
    assert sd.scheduler.config.steps_offset == 1
    assert sd.scheduler.final_alpha_cumprod == sd.scheduler.alphas_cumprod[0]
    assert sd.vae_scale_factor == 8
    assert sd.vae.config.scaling_factor == 0.18215
    with torch.no_grad():
        assert sd.vae.decode(torch.randn(1, 4, 8, 8)).sample.shape == (1, 3, 64, 64)


def test_stable_diffusion_unet_listens(sd: StableDiffusionPipeline) -> None:
    eps = predict(sd, "a mountain", 500)
    assert eps.shape == (1, 4, 8, 8)
    assert 0.5 < float(eps.std()) < 2.0
    assert difference(eps, predict(sd, "a city at night", 500)) > 0.01
    assert difference(eps, predict(sd, "a mountain", 100)) > 0.01
    assert difference(eps, predict(sd, "a mountain", 500, seed=1)) > 0.1


@pytest.mark.parametrize("prompt", PROMPTS)
def test_clip_tokenizer_equals_open_clip(sd: StableDiffusionPipeline, prompt: str) -> None:
    ids = sd.tokenizer(prompt, padding="max_length", max_length=77, truncation=True).input_ids
    assert ids == tokenize(prompt)[0].tolist()


def test_clip_tokenizer_pads_with_zero(sd: StableDiffusionPipeline) -> None:
    assert (sd.tokenizer.pad_token, sd.tokenizer.pad_token_id) == ("!", 0)
    assert (sd.tokenizer.bos_token_id, sd.tokenizer.eos_token_id, len(sd.tokenizer)) == (49406, 49407, 49408)
    assert sd.tokenizer("Hey!").input_ids == [49406, tokenize("hey")[0, 1].item(), 0, 49407]


def test_stock_pipeline_runs(sd: StableDiffusionPipeline) -> None:
    picture = sd("a mountain", num_inference_steps=2, output_type="pt").images
    assert picture.shape == (1, 3, 64, 64)
    assert torch.isfinite(picture).all()


def test_if_stage_1_layout(if_stage_1_folder: Path) -> None:
    tokenizer = {path.name for path in (if_stage_1_folder / "tokenizer").iterdir()}
    assert tokenizer == {"spiece.model", "special_tokens_map.json", "tokenizer_config.json"}
    index = json.loads((if_stage_1_folder / "model_index.json").read_text())
    assert index["safety_checker"] == ["deepfloyd_if", "IFSafetyChecker"]
    assert (if_stage_1_folder / "safety_checker/model.safetensors").is_file()
    assert (if_stage_1_folder / "watermarker/diffusion_pytorch_model.safetensors").is_file()


def test_if_stage_1_loads_and_listens(if_stage_1_folder: Path) -> None:
    pipe = load(if_stage_1_folder)
    eps = predict(pipe, "a truck", 500)
    assert eps.shape == (1, 6, 16, 16)
    assert difference(eps, predict(pipe, "a rabbit", 500)) > 0.01
    assert difference(eps, predict(pipe, "a truck", 100)) > 0.01
    scheduler = pipe.scheduler.config
    assert (scheduler.variance_type, scheduler.thresholding, scheduler.sample_max_value) == ("learned_range", True, 1.5)


def test_t5_tokenizer(if_stage_1_folder: Path) -> None:
    tokenizer = load(if_stage_1_folder).tokenizer
    ids = tokenizer("a photo of a garden", padding="max_length", max_length=77, truncation=True).input_ids
    assert len(ids) == 77
    end = ids.index(1)
    assert end > 3
    assert set(ids[end + 1 :]) == {0}
    assert tokenizer.decode(ids[:end]) == "a photo of a garden"
    assert max(ids) < hub_folders.T5_SIZES["vocab_size"]
    assert max(tokenizer("<extra_id_0> 🙂").input_ids) < hub_folders.T5_SIZES["vocab_size"]


def test_if_stage_2_loads_and_listens(if_stage_2_folder: Path) -> None:
    pipe = load(if_stage_2_folder)
    eps = predict(pipe, "a truck", 500, level=250.0)
    assert eps.shape == (1, 6, 64, 64)
    assert difference(eps, predict(pipe, "a rabbit", 500, level=250.0)) > 0.01
    assert difference(eps, predict(pipe, "a truck", 500, level=0.0)) > 0.01
    assert pipe.scheduler.config.sample_max_value == 1.0
    assert type(pipe.image_noising_scheduler).__name__ == "DDPMScheduler"


def test_stock_if_stages_run(if_stage_1_folder: Path, if_stage_2_folder: Path) -> None:
    stage_1, stage_2 = load(if_stage_1_folder), load(if_stage_2_folder)
    embeds, negative = stage_1.encode_prompt("a truck")
    given = {"prompt_embeds": embeds, "negative_prompt_embeds": negative, "num_inference_steps": 2, "output_type": "pt"}
    small = stage_1(**given).images
    assert small.shape == (1, 3, 16, 16)
    assert stage_2(image=small, **given).images.shape == (1, 3, 64, 64)


def test_both_stages_have_one_text_encoder(if_stage_1_folder: Path, if_stage_2_folder: Path) -> None:
    name = "text_encoder/model.safetensors"
    assert (if_stage_1_folder / name).read_bytes() == (if_stage_2_folder / name).read_bytes()


@pytest.mark.parametrize("make", [hub_folders.make_stable_diffusion, hub_folders.make_if_stage_2])
def test_seed_decides_the_weights(make, tmp_path: Path) -> None:
    weights = [
        load_file(make(tmp_path / name, seed=seed) / "unet/diffusion_pytorch_model.safetensors")
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["conv_in.weight"], weights[2]["conv_in.weight"])


def test_fp16_variant(tmp_path: Path) -> None:
    folder = hub_folders.make_stable_diffusion(
        tmp_path / "sd", prediction_type="v_prediction", variant="fp16", dtype=torch.float16
    )
    names = {path.name for path in folder.rglob("*.safetensors")}
    assert names == {"model.fp16.safetensors", "diffusion_pytorch_model.fp16.safetensors"}
    pipe = load(folder, variant="fp16")
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    weights = load_file(folder / "unet/diffusion_pytorch_model.fp16.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float16}


def test_fp16_variant_of_if(tmp_path: Path) -> None:
    folder = hub_folders.make_if_stage_1(tmp_path / "if", variant="fp16")
    assert all(".fp16." in path.name for path in folder.rglob("*.safetensors"))
    assert load(folder, variant="fp16").unet.config.out_channels == 6
