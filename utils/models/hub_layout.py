"""Pipelines with random weights, written as folders in the layout of the Hub.

The configurations are those of the full-size networks; tests write the same layouts with smaller numbers.
"""

import functools
import gzip
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

Config = dict[str, Any]

CLIP_TEXT: Config = {
    "vocab_size": 49408, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23,
    "num_attention_heads": 16, "max_position_embeddings": 77, "hidden_act": "gelu", "projection_dim": 512,
    "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
T5_TEXT: Config = {
    "vocab_size": 32128, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64,
    "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "is_encoder_decoder": True,
    "use_cache": False, "decoder_start_token_id": 0,
}  # fmt: skip
SD_UNET: Config = {
    "sample_size": 64, "in_channels": 4, "out_channels": 4, "layers_per_block": 2,
    "block_out_channels": (320, 640, 1280, 1280), "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024, "use_linear_projection": True, "norm_num_groups": 32,
}  # fmt: skip
SD_VAE: Config = {
    "sample_size": 512, "in_channels": 3, "out_channels": 3, "latent_channels": 4, "layers_per_block": 2,
    "block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "norm_num_groups": 32, "scaling_factor": 0.18215,
}  # fmt: skip
IF_UNET: Config = {
    "in_channels": 3, "out_channels": 6, "norm_num_groups": 32, "act_fn": "gelu",
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "resnet_time_scale_shift": "scale_shift",
    "encoder_hid_dim": 4096, "encoder_hid_dim_type": "text_proj", "addition_embed_type": "text",
    "addition_embed_type_num_heads": 64, "cross_attention_norm": "group_norm", "attention_head_dim": 64,
}  # fmt: skip
IF_UNET_STAGE_1: Config = IF_UNET | {
    "sample_size": 64, "layers_per_block": (3, 4, 4, 3), "block_out_channels": (192, 384, 576, 768),
    "cross_attention_dim": 768,
    "down_block_types": ("ResnetDownsampleBlock2D",) + ("SimpleCrossAttnDownBlock2D",) * 3,
    "up_block_types": ("SimpleCrossAttnUpBlock2D",) * 3 + ("ResnetUpsampleBlock2D",),
}  # fmt: skip
IF_UNET_STAGE_2: Config = IF_UNET | {
    "sample_size": 256, "in_channels": 6, "class_embed_type": "timestep", "time_embedding_act_fn": "gelu",
    "resnet_skip_time_act": True, "only_cross_attention": True,
    "resnet_out_scale_factor": 1 / 0.7071, "mid_block_scale_factor": 1 / 0.7071,
    "layers_per_block": (2, 3, 3, 2, 2), "block_out_channels": (128, 256, 512, 768, 1024), "cross_attention_dim": 1024,
    "down_block_types": ("ResnetDownsampleBlock2D",) * 4 + ("SimpleCrossAttnDownBlock2D",),
    "up_block_types": ("SimpleCrossAttnUpBlock2D",) + ("ResnetUpsampleBlock2D",) * 4,
}  # fmt: skip
X4_UNET: Config = {
    "sample_size": 128, "in_channels": 7, "out_channels": 4, "layers_per_block": 2, "num_class_embeds": 1000,
    "block_out_channels": (256, 512, 512, 1024), "attention_head_dim": 8, "cross_attention_dim": 1024,
    "only_cross_attention": (True, True, True, False), "use_linear_projection": True, "norm_num_groups": 32,
    "down_block_types": ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 3,
    "up_block_types": ("CrossAttnUpBlock2D",) * 3 + ("UpBlock2D",),
}  # fmt: skip
X4_VAE: Config = SD_VAE | {
    "sample_size": 256, "block_out_channels": (128, 256, 512), "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3, "scaling_factor": 0.08333,
}  # fmt: skip

SD_SCHEDULER: Config = {
    "num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
    "skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1, "prediction_type": "epsilon",
}  # fmt: skip
IF_SCHEDULER: Config = {
    "num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "beta_start": 0.0001, "beta_end": 0.02,
    "prediction_type": "epsilon", "variance_type": "learned_range", "clip_sample": True, "clip_sample_range": 1.0,
    "thresholding": True, "dynamic_thresholding_ratio": 0.95, "sample_max_value": 1.5,
}  # fmt: skip
IF_NOISING_SCHEDULER: Config = {
    "num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "beta_start": 0.0001, "beta_end": 0.02,
}  # fmt: skip
X4_SCHEDULER: Config = {
    "num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.0001, "beta_end": 0.02,
    "prediction_type": "v_prediction", "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1,
}  # fmt: skip
X4_LOW_RES_SCHEDULER: Config = {
    "num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.0001, "beta_end": 0.02,
}  # fmt: skip

CORPUS = (
    "a photo of a mountain range at twilight", "an oil painting of an old man", "an oil painting of a snowy village",
    "a lithograph of houseplants in a garden", "a pencil sketch of a truck, a duck and a rabbit",
    "a watercolour of people at the campfire", "the skyline of a city by the sea, at night in the rain",
    "a black and white drawing of the letter n, turned into the letter z", "quick brown foxes jump over lazy dogs",
    "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z 0 1 2 3 4 5 6 7 8 9 . , ! ? ' - : ; ( )",
)  # fmt: skip


@dataclass(frozen=True)
class Saving:
    """How the weights of a folder are saved: the variant in their file names and their type."""

    variant: str | None = None
    dtype: torch.dtype = torch.float32


def build_model(kind: str, config: Config) -> Any:
    """A network with random weights, in eval mode. `kind` is "unet", "vae", "controlnet", "clip" or "t5"."""
    import diffusers
    import transformers

    of_diffusers = {
        "unet": diffusers.UNet2DConditionModel, "vae": diffusers.AutoencoderKL, "controlnet": diffusers.ControlNetModel,
    }  # fmt: skip
    if network := of_diffusers.get(kind):
        return network.from_config(config).eval()
    network, settings = {
        "clip": (transformers.CLIPTextModel, transformers.CLIPTextConfig),
        "t5": (transformers.T5EncoderModel, transformers.T5Config),
    }[kind]
    return network(settings(**config)).eval()


def write_model(model: Any, folder: Path, saving: Saving) -> None:
    """Save a network of diffusers as safetensors and config.json; the network itself is cast to the saved type."""
    torch.nn.Module.to(model, saving.dtype)
    model.save_pretrained(folder, variant=saving.variant)


def write_transformer(model: Any, folder: Path, saving: Saving, prefix: str = "") -> None:
    """Save a network of transformers under the names that its weights have on the Hub.

    Args:
        prefix: put before every weight's name; transformers 5 dropped "text_model." of CLIP's, the Hub has it.
    """
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    weights = torch.nn.Module.to(model, saving.dtype).state_dict()
    weights.pop("encoder.embed_tokens.weight", None)
    suffix = f".{saving.variant}" if saving.variant else ""
    named = {prefix + name: weight.contiguous() for name, weight in weights.items() if not name.endswith("_ids")}
    save_file(named, folder / f"model{suffix}.safetensors", metadata={"format": "pt"})


def write_scheduler(name: str, config: Config, folder: Path) -> None:
    """Save the scheduler `name` of diffusers as scheduler_config.json."""
    import diffusers

    getattr(diffusers, name).from_config(config).save_pretrained(folder)


def write_json(path: Path, content: Config) -> None:
    """Write `content` where the Hub would have it, making the folders above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_model_index(folder: Path, pipeline: str, components: Mapping[str, tuple[str | None, str | None]]) -> None:
    """Write model_index.json: `components` maps a name to (library, class), (None, None) where there is none."""
    index = {"_class_name": pipeline, "_diffusers_version": "0.15.0.dev0"}
    write_json(folder / "model_index.json", index | {name: list(entry) for name, entry in components.items()})


@functools.cache
def clip_vocabulary() -> tuple[dict[str, int], list[str]]:
    """CLIP's byte-pair vocabulary as (piece -> id, merge rules), read from the file in open_clip's package."""
    from open_clip.tokenizer import bytes_to_unicode, default_bpe

    lines = gzip.decompress(Path(default_bpe()).read_bytes()).decode("utf-8").split("\n")
    merges = lines[1 : 49152 - 256 - 2 + 1]
    letters = list(bytes_to_unicode().values())
    pieces = letters + [letter + "</w>" for letter in letters] + [merge.replace(" ", "") for merge in merges]
    return {piece: i for i, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}, merges


def write_clip_tokenizer(folder: Path) -> None:
    """Save CLIP's tokenizer as the legacy files of Stable Diffusion 2, which pad with "!" (id 0)."""
    vocabulary, merges = clip_vocabulary()
    special = {name: _special_token(text) for name, text in (
        ("bos_token", "<|startoftext|>"), ("eos_token", "<|endoftext|>"), ("unk_token", "<|endoftext|>"),
    )}  # fmt: skip
    write_json(folder / "special_tokens_map.json", special | {"pad_token": "!"})
    write_json(folder / "tokenizer_config.json", {
        **{name: {"__type": "AddedToken", **token} for name, token in special.items()},
        "pad_token": "<|endoftext|>", "add_prefix_space": False, "do_lower_case": True, "errors": "replace",
        "model_max_length": 77, "tokenizer_class": "CLIPTokenizer",
    })  # fmt: skip
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")


def _special_token(text: str) -> Config:
    return {"content": text, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}


@functools.cache
def t5_pieces(size: int = 160) -> bytes:
    """A small sentencepiece model with T5's special ids (0 pad, 1 end, 2 unknown), trained on a few sentences."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=model, model_type="unigram", vocab_size=size,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    return model.getvalue()


def write_t5_tokenizer(folder: Path) -> None:
    """Save a T5 tokenizer as `spiece.model` and its two small JSON files, without tokenizer.json."""
    special: Config = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    special["additional_special_tokens"] = [f"<extra_id_{i}>" for i in range(100)]
    write_json(folder / "special_tokens_map.json", special)
    write_json(folder / "tokenizer_config.json", {
        **special, "extra_ids": 100, "model_max_length": 512, "sp_model_kwargs": {}, "tokenizer_class": "T5Tokenizer",
    })  # fmt: skip
    (folder / "spiece.model").write_bytes(t5_pieces())


def write_safety_checker(folder: Path, saving: Saving) -> None:
    """Save DeepFloyd IF's safety checker with random weights, at a small size."""
    from diffusers.pipelines.deepfloyd_if import IFSafetyChecker
    from transformers import CLIPConfig

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(text_config=sizes, vision_config=sizes | {"image_size": 32, "patch_size": 16})
    write_transformer(IFSafetyChecker(config), folder, saving)


def write_if_extras(folder: Path, saving: Saving) -> None:
    """Save what IF's folders hold besides the networks: safety checker, feature extractor and watermarker."""
    from diffusers.pipelines.deepfloyd_if import IFWatermarker
    from transformers import CLIPImageProcessor

    write_safety_checker(folder / "safety_checker", saving)
    CLIPImageProcessor().save_pretrained(folder / "feature_extractor")
    write_model(IFWatermarker(), folder / "watermarker", saving)


def write_stable_diffusion(
    folder: Path,
    *,
    unet: torch.nn.Module,
    vae: torch.nn.Module,
    text_encoder: torch.nn.Module,
    saving: Saving,
    prediction_type: str = "epsilon",
) -> None:
    """Write a StableDiffusionPipeline folder: SD2-base's scheduler and legacy tokenizer, no safety checker."""
    write_model(unet, folder / "unet", saving)
    write_model(vae, folder / "vae", saving)
    write_transformer(text_encoder, folder / "text_encoder", saving, prefix="text_model.")
    write_clip_tokenizer(folder / "tokenizer")
    write_scheduler("PNDMScheduler", SD_SCHEDULER | {"prediction_type": prediction_type}, folder / "scheduler")
    write_model_index(folder, "StableDiffusionPipeline", {
        "feature_extractor": (None, None), "safety_checker": (None, None), "scheduler": ("diffusers", "PNDMScheduler"),
        "text_encoder": ("transformers", "CLIPTextModel"), "tokenizer": ("transformers", "CLIPTokenizer"),
        "unet": ("diffusers", "UNet2DConditionModel"), "vae": ("diffusers", "AutoencoderKL"),
    })  # fmt: skip


def write_upscaler(
    folder: Path, *, unet: torch.nn.Module, vae: torch.nn.Module, text_encoder: torch.nn.Module, saving: Saving
) -> None:
    """Write a StableDiffusionUpscalePipeline folder: the x4 upscaler's schedulers, no safety checker or watermarker."""
    write_model(unet, folder / "unet", saving)
    write_model(vae, folder / "vae", saving)
    write_transformer(text_encoder, folder / "text_encoder", saving, prefix="text_model.")
    write_clip_tokenizer(folder / "tokenizer")
    write_scheduler("DDIMScheduler", X4_SCHEDULER, folder / "scheduler")
    write_scheduler("DDPMScheduler", X4_LOW_RES_SCHEDULER, folder / "low_res_scheduler")
    write_model_index(folder, "StableDiffusionUpscalePipeline", {
        "feature_extractor": (None, None), "safety_checker": (None, None), "watermarker": (None, None),
        "scheduler": ("diffusers", "DDIMScheduler"), "low_res_scheduler": ("diffusers", "DDPMScheduler"),
        "text_encoder": ("transformers", "CLIPTextModel"), "tokenizer": ("transformers", "CLIPTokenizer"),
        "unet": ("diffusers", "UNet2DConditionModel"), "vae": ("diffusers", "AutoencoderKL"),
    })  # fmt: skip


def write_if_stage(
    folder: Path, stage: int, *, unet: torch.nn.Module, text_encoder: torch.nn.Module, saving: Saving
) -> None:
    """Write a folder of DeepFloyd IF: an IFPipeline (`stage` 1) or an IFSuperResolutionPipeline (2)."""
    write_model(unet, folder / "unet", saving)
    write_transformer(text_encoder, folder / "text_encoder", saving)
    write_t5_tokenizer(folder / "tokenizer")
    write_if_extras(folder, saving)
    scheduler = IF_SCHEDULER | {"sample_max_value": {1: 1.5, 2: 1.0}[stage]}
    write_scheduler("DDPMScheduler", scheduler, folder / "scheduler")
    components = {
        "feature_extractor": ("transformers", "CLIPImageProcessor"),
        "safety_checker": ("deepfloyd_if", "IFSafetyChecker"), "scheduler": ("diffusers", "DDPMScheduler"),
        "text_encoder": ("transformers", "T5EncoderModel"), "tokenizer": ("transformers", "T5Tokenizer"),
        "unet": ("diffusers", "UNet2DConditionModel"), "watermarker": ("deepfloyd_if", "IFWatermarker"),
    }  # fmt: skip
    if stage == 2:
        write_scheduler("DDPMScheduler", IF_NOISING_SCHEDULER, folder / "image_noising_scheduler")
        components["image_noising_scheduler"] = ("diffusers", "DDPMScheduler")
    write_model_index(folder, {1: "IFPipeline", 2: "IFSuperResolutionPipeline"}[stage], components)
