"""Models that are damaged, incomplete or of another kind: one sentence and exit code 2, as early as it can be known.

A damage is a function from the bytes of a file to those that take their place, or to None: the file is gone.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from tests import hub_folders, runs
from utils.models import components
from utils.models.hub_layout import clip_vocabulary
from utils.models.parts import PARTS

one_thread, no_weights = runs.one_thread, runs.no_weights
Damage = Callable[[bytes], bytes | None]
Folders = dict[str, Path]
OPTIONS = {"sd": "sd_path", "stage_1": "stage_1_path", "stage_2": "stage_2_path", "upscaler": "stage_3_path"}


@pytest.fixture(scope="session")
def folders(
    sd_folder: Path, if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Folders:
    """One whole model of every layout."""
    upscaler = hub_folders.make_upscaler(tmp_path_factory.mktemp("hub") / "upscaler")
    return {"sd": sd_folder, "stage_1": if_stage_1_folder, "stage_2": if_stage_2_folder, "upscaler": upscaler}


@pytest.fixture(autouse=True)
def fresh_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIFFUSION_SYNC_CACHE", str(tmp_path / "cache"))


def damaged(folder: Path, copy: Path, file: str, damage: Damage) -> Path:
    """Return a copy of a folder, of links but for the damaged file."""
    shutil.copytree(folder, copy, copy_function=os.link)
    path = copy / file
    data = path.read_bytes() if path.exists() else b""
    path.unlink(missing_ok=True)
    if (changed := damage(data)) is not None:
        path.write_bytes(changed)
    return copy


def argv(layout: str, folder: Path, folders: Folders, out: Path) -> runs.Argv:
    """The command line of a run that reads this folder, the others whole."""
    if layout == "sd":
        return runs.wide(folder, out)
    taken = folders | {layout: folder}
    extra = ("--stage_3_path", folder) if layout == "upscaler" else ()
    return runs.ambiguous(taken["stage_1"], taken["stage_2"], out, "--style", "", "--prompts", "a", "b", *extra)


# ---------------------------------------------------------------------------------------------- what damages do


def gone(_: bytes) -> None:
    return None


def being(data: bytes) -> Damage:
    return lambda _: data


def being_json(value: Any) -> Damage:
    return being(json.dumps(value).encode())


def cut_to(share: float) -> Damage:
    return lambda data: data[: int(len(data) * share)]


def with_fields(**fields: Any) -> Damage:
    return lambda data: json.dumps(json.loads(data) | fields).encode()


def without(*names: str) -> Damage:
    return lambda data: json.dumps({n: v for n, v in json.loads(data).items() if n not in names}).encode()


def on_tensors(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Damage:
    return lambda data: save(change(load(data)), {"format": "pt"})


def drop_last(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensors[name] for name in sorted(tensors)[:-1]}


def drop_all(_: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {}


def narrow_first(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    name = min(name for name, tensor in tensors.items() if tensor.ndim > 1)
    return tensors | {name: tensors[name][1:].clone()}


def add_another(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return tensors | {"more.layers.7.weight": torch.zeros(3)}


VOCABULARY, MERGES = clip_vocabulary()
UNET, VAE, TEXT = "unet/config.json", "vae/config.json", "text_encoder/config.json"
TOKENIZER, VOCAB, PAIRS = "tokenizer/tokenizer_config.json", "tokenizer/vocab.json", "tokenizer/merges.txt"
SPECIAL, SPIECE, FAST = "tokenizer/special_tokens_map.json", "tokenizer/spiece.model", "tokenizer/tokenizer.json"
INDEX, SCHEDULER = "model_index.json", "scheduler/scheduler_config.json"
NOISING = {"stage_2": "image_noising_scheduler/scheduler_config.json",
           "upscaler": "low_res_scheduler/scheduler_config.json"}  # fmt: skip
UNET_WEIGHTS, VAE_WEIGHTS = "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"
TEXT_WEIGHTS = "text_encoder/model.safetensors"

# layout, file, damage, words of the sentence
Case = tuple[str, str, Damage, str]
FIELDS: list[Case] = [
    ("sd", INDEX, with_fields(unet=["diffusers", "UNet2DModel"]), "'UNet2DModel'"),
    ("sd", INDEX, with_fields(vae=["diffusers", "AutoencoderTiny"]), "wanted is AutoencoderKL"),
    ("sd", INDEX, with_fields(scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"]), "a scheduler with betas"),
    ("sd", INDEX, with_fields(text_encoder=["transformers", "T5EncoderModel"]), "wanted is CLIPTextModel"),
    ("sd", INDEX, with_fields(tokenizer=["transformers", "BertTokenizer"]), "'BertTokenizer'"),
    ("sd", INDEX, with_fields(tokenizer=[None, None]), "does not say what tokenizer is"),
    ("sd", INDEX, with_fields(vae="AutoencoderKL"), "does not say what vae is"),
    ("sd", INDEX, with_fields(vae=["diffusers", ["AutoencoderKL"]]), "vae is ['AutoencoderKL']"),
    ("sd", INDEX, without("unet"), "does not say what unet is"),
    ("stage_1", INDEX, with_fields(text_encoder=["transformers", "CLIPTextModel"]), "wanted is T5EncoderModel"),
    ("stage_2", INDEX, without("image_noising_scheduler"), "what image_noising_scheduler is"),
    ("upscaler", INDEX, with_fields(low_res_scheduler=["x", "y"]), "low_res_scheduler is 'y'"),
    ("sd", "words.json", being(b"{"), "(words.json cannot be read)"),
    ("sd", "words.json", being_json({"subjects": 3}), "no subjects with their words"),
    ("sd", "words.json", being_json({}), "no subjects with their words"),
    ("sd", UNET, without("sample_size"), "does not say sample_size"),
    ("sd", UNET, without("attention_head_dim", "act_fn"), "does not say attention_head_dim, act_fn"),
    ("sd", UNET, with_fields(sample_size="8"), 'sample_size is "8"'),
    ("sd", UNET, with_fields(sample_size=0), "sample_size is 0"),
    ("sd", UNET, with_fields(sample_size=10**9), "sample_size is 1000000000"),
    ("sd", UNET, with_fields(sample_size=True), "sample_size is true"),
    ("sd", UNET, with_fields(block_out_channels=[]), "block_out_channels is []"),
    ("sd", UNET, with_fields(block_out_channels=[16, 36]), "norm_num_groups 8 does not divide"),
    ("sd", UNET, with_fields(down_block_types=["DownBlock2D"]), "differ in length"),
    ("sd", UNET, with_fields(down_block_types="DownBlock2D"), "down_block_types is"),
    ("sd", UNET, with_fields(norm_eps=float("nan")), "norm_eps is NaN"),
    ("sd", UNET, with_fields(in_channels=9), "9 channels come in"),
    ("sd", UNET, with_fields(out_channels=8), "8 go out"),
    ("sd", UNET, with_fields(class_embed_type="timestep"), "wants to be told"),
    ("sd", UNET, with_fields(cross_attention_dim=64), "text of width 64, text_encoder writes 32"),
    ("sd", UNET, with_fields(addition_embed_type="text_time"), "addition_embed_type"),
    ("sd", UNET, with_fields(_class_name="SD3Transformer2DModel"), "'SD3Transformer2DModel'"),
    ("stage_1", UNET, with_fields(in_channels=4), "4 channels come in"),
    ("stage_1", UNET, with_fields(encoder_hid_dim=64), "text of width 64"),
    ("stage_2", UNET, with_fields(class_embed_type=None), "not told the noise level"),
    ("stage_2", UNET, with_fields(in_channels=3), "does not enlarge"),
    ("stage_2", UNET, with_fields(encoder_hid_dim=64), "two stages of one family"),
    ("upscaler", UNET, with_fields(num_class_embeds=None), "not told the noise level"),
    ("upscaler", UNET, with_fields(in_channels=4), "this has 4"),
    ("sd", VAE, without("latent_channels"), "does not say latent_channels"),
    ("sd", VAE, with_fields(latent_channels=16), "where the states have 16"),
    ("sd", VAE, with_fields(scaling_factor=0), "scaling_factor is 0"),
    ("sd", VAE, with_fields(shift_factor=0.1), "shift_factor is 0.1"),
    ("sd", VAE, with_fields(latents_mean=[0, 0, 0, 0]), "latents_mean is"),
    ("upscaler", VAE, with_fields(in_channels=4), "in_channels is 4"),
    ("sd", TEXT, without("hidden_act"), "does not say hidden_act"),
    ("sd", TEXT, with_fields(model_type="bert"), 'model_type is "bert"'),
    ("sd", TEXT, with_fields(vocab_size=100), "has 49408 pieces, text_encoder knows 100"),
    ("sd", TEXT, with_fields(max_position_embeddings=9), "model_max_length is 77"),
    ("stage_1", TEXT, with_fields(d_model=None), "d_model is null"),
    ("stage_1", TEXT, with_fields(vocab_size=9), "text_encoder knows 9"),
    ("sd", SCHEDULER, without("beta_start"), "does not say beta_start"),
    ("sd", SCHEDULER, with_fields(beta_end="0.012"), 'beta_end is "0.012"'),
    ("sd", SCHEDULER, with_fields(beta_schedule="sigmoid"), 'beta_schedule is "sigmoid"'),
    ("sd", SCHEDULER, with_fields(trained_betas=[0.1, 0.2]), "trained_betas is no list of 1000"),
    ("sd", SCHEDULER, with_fields(timestep_spacing="even"), 'timestep_spacing is "even"'),
    ("sd", SCHEDULER, with_fields(_class_name="FlowMatchEulerDiscreteScheduler"), "FlowMatchEulerDiscreteScheduler"),
    ("sd", SCHEDULER, with_fields(prediction_type=["v"]), "predicts ['v']"),
    ("stage_1", SCHEDULER, with_fields(sample_max_value="high"), 'sample_max_value is "high"'),
    ("stage_2", NOISING["stage_2"], with_fields(num_train_timesteps=500), "num_train_timesteps is 500"),
    ("upscaler", NOISING["upscaler"], without("beta_schedule"), "low_res_scheduler/scheduler_config.json does not say"),
    ("sd", TOKENIZER, without("model_max_length"), "model_max_length is null"),
    ("sd", TOKENIZER, without("pad_token"), "does not say pad_token"),
    ("sd", SPECIAL, gone, "special_tokens_map.json is missing"),
    ("sd", SPECIAL, being_json({}), "special_tokens_map.json does not say eos_token, pad_token"),
    ("sd", VOCAB, gone, "vocab.json is missing"),
    ("sd", VOCAB, being_json({}), "vocab.json"),
    ("sd", VOCAB, cut_to(0.5), "vocab.json cannot be read"),
    ("sd", VOCAB, being_json(dict(list(VOCABULARY.items())[:9999])), "incomplete"),
    ("sd", VOCAB, being_json(dict.fromkeys(VOCABULARY, 5)), "a number of its own"),
    ("sd", VOCAB, being_json({piece: str(i) for piece, i in VOCABULARY.items()}), "a number of its own"),
    ("sd", PAIRS, gone, "merges.txt is missing"),
    ("sd", PAIRS, being(b""), "incomplete"),
    ("sd", PAIRS, cut_to(0.5), "merges.txt"),
    ("sd", PAIRS, being("\n".join(MERGES[:5000]).encode()), "incomplete"),
    ("sd", PAIRS, being(b"\xff\xfe"), "merges.txt cannot be read"),
    ("sd", PAIRS, being(b"one piece too many"), "no pair"),
    ("sd", FAST, being(b"{"), "tokenizer.json cannot be read"),
    ("sd", FAST, being_json({}), "no BPE vocabulary"),
    ("sd", FAST, being_json({"model": {"type": "BPE", "vocab": {"a": 0}}}), "tokenizer.json is damaged"),
    ("upscaler", VOCAB, gone, "vocab.json is missing"),
    ("stage_1", SPIECE, gone, "spiece.model is missing"),
    ("stage_1", SPIECE, being(b""), "spiece.model"),
    ("stage_1", SPIECE, cut_to(0.5), "spiece.model is damaged"),
    ("stage_1", SPIECE, being(b"no model at all"), "spiece.model is damaged"),
    ("stage_1", SPECIAL, gone, "special_tokens_map.json is missing"),
    ("stage_1", FAST, being_json({"model": {"type": "Unigram", "vocab": []}}), "no Unigram vocabulary"),
]  # fmt: skip
NO_FILES: list[Case] = [
    (layout, file, damage, file.split("/")[0])
    for layout, files in {
        "sd": (INDEX, UNET, VAE, TEXT, TOKENIZER, SCHEDULER), "stage_1": (INDEX, UNET, TEXT, TOKENIZER, SCHEDULER),
        "stage_2": (INDEX, UNET, SCHEDULER, NOISING["stage_2"]),
        "upscaler": (INDEX, UNET, VAE, TEXT, TOKENIZER, SCHEDULER, NOISING["upscaler"]),
    }.items()
    for file in files
    for damage in (gone, *map(being, (b"{}", b"{", b"[]", b"null", b"7", b"", b"\x80\xff", b"[" * 100_000)))[
        : None if layout == "sd" else 3
    ]
]  # fmt: skip
CUT_WEIGHTS: list[Case] = [
    (layout, file, damage, f"{file} is damaged")
    for layout, files in {
        "sd": (UNET_WEIGHTS, VAE_WEIGHTS, TEXT_WEIGHTS), "stage_1": (UNET_WEIGHTS, TEXT_WEIGHTS),
        "stage_2": (UNET_WEIGHTS,), "upscaler": (UNET_WEIGHTS, VAE_WEIGHTS, TEXT_WEIGHTS),
    }.items()
    for file in files
    for damage in (cut_to(0.9), being(b""), being(b"\x80" * 99), cut_to(0.01), lambda data: data + b"more")[
        : None if layout == "sd" else 1
    ]
]  # fmt: skip


@pytest.mark.parametrize(("layout", "file", "damage", "words"), [*FIELDS, *NO_FILES, *CUT_WEIGHTS])
@pytest.mark.usefixtures("no_weights")
def test_what_small_files_and_headers_tell(
    layout: str, file: str, damage: Damage, words: str, folders: Folders, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Before an output folder is made, and before any weights are read."""
    folder = damaged(folders[layout], tmp_path / "m", file, damage)
    sentence = runs.refused(capsys, argv(layout, folder, folders, tmp_path / "out"))
    assert str(folder) in sentence and words in sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


@pytest.mark.parametrize("layout", ["sd", "stage_1", "upscaler"])
@pytest.mark.usefixtures("no_weights")
def test_a_tokenizer_of_its_configuration_alone(
    layout: str, folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would read every prompt alike."""
    folder = shutil.copytree(folders[layout], tmp_path / "m", copy_function=os.link)
    for path in (folder / "tokenizer").iterdir():
        if path.name != "tokenizer_config.json":
            path.unlink()
    assert "tokenizer/" in runs.refused(capsys, argv(layout, folder, folders, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", OPTIONS)
def test_every_field_that_decides_a_picture_must_be_there_and_right(
    layout: str, folders: Folders, tmp_path: Path
) -> None:
    parts = hub_folders.PARTS[OPTIONS[layout]]
    folder = shutil.copytree(folders[layout], tmp_path / "m")
    components.check_components(folder, parts)
    checked = 0
    for part in parts:
        path = folder / part / components.config_name(part)
        whole = path.read_bytes()
        for field in PARTS[parts[part]].fields:
            for damage in (
                without(field),
                *(with_fields(**{field: value}) for value in (None, [], {}, [None])),
            ):
                path.write_bytes(damage(whole))
                with pytest.raises(ValueError, match=f"{part}/.*{field}"):
                    components.check_components(folder, parts)
                checked += 1
        path.write_bytes(whole)
    assert checked > 50


# ---------------------------------------------------------------------------------------------- told while loading

LOADED: list[Case] = [
    (layout, file, on_tensors(change), words)
    for layout, files in {
        "sd": (UNET_WEIGHTS, VAE_WEIGHTS, TEXT_WEIGHTS), "stage_1": (UNET_WEIGHTS, TEXT_WEIGHTS),
        "stage_2": (UNET_WEIGHTS,), "upscaler": (UNET_WEIGHTS, VAE_WEIGHTS, TEXT_WEIGHTS),
    }.items()
    for file in files
    for change, words in (
        (drop_last, " lacks "), (narrow_first, "shape"), (drop_all, " more"), (add_another, "more.layers.7.weight"),
    )[: 4 if layout == "sd" or (layout, file) == ("stage_1", TEXT_WEIGHTS) else 1]
]  # fmt: skip
LOADED += [
    ("sd", UNET, with_fields(down_block_types=["NoBlock2D", "DownBlock2D"]), "NoBlock2D"),
    ("sd", UNET, with_fields(layers_per_block=2), "shape"),
    ("sd", UNET, with_fields(block_out_channels=[16, 64]), "shape"),
    ("sd", UNET, with_fields(act_fn="loud"), "loud"),
    ("sd", VAE, with_fields(layers_per_block=2), "vae lacks"),
    ("sd", TEXT, with_fields(num_hidden_layers=1), "text_encoder has beside its network"),
    ("sd", TEXT, with_fields(num_hidden_layers=3), "text_encoder lacks"),
    ("sd", TEXT, with_fields(num_attention_heads=7), ""),
    ("stage_1", TEXT, with_fields(num_layers=1), "text_encoder has beside its network"),
    ("stage_1", TEXT, with_fields(d_ff=32), "shape"),
]


@pytest.mark.parametrize(("layout", "file", "damage", "words"), LOADED)
def test_weights_that_do_not_suit_their_configuration(
    layout: str, file: str, damage: Damage, words: str, folders: Folders, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Libraries fill in at random what is missing, and only print that."""
    folder = damaged(folders[layout], tmp_path / "m", file, damage)
    sentence = runs.refused(capsys, argv(layout, folder, folders, tmp_path / "out"))
    assert f"{folder} cannot be loaded (" in sentence and words in sentence
    assert not list((tmp_path / "out").rglob("*.png"))
    cached = list((tmp_path / "cache").rglob("*.safetensors"))
    assert cached == [] or file.split("/", maxsplit=1)[0] != "text_encoder" or layout == "upscaler"


@pytest.mark.parametrize("file", [UNET_WEIGHTS, TEXT_WEIGHTS])
def test_libraries_say_nothing_beside_the_sentence(
    file: str, folders: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = damaged(folders["sd"], tmp_path / "m", file, on_tensors(drop_last))
    told, handler = [], logging.Handler()
    handler.emit = told.append
    for library in ("diffusers", "transformers"):
        logging.getLogger(library).addHandler(handler)
    try:
        runs.refused(capsys, argv("sd", folder, folders, tmp_path / "out"))
    finally:
        for library in ("diffusers", "transformers"):
            logging.getLogger(library).removeHandler(handler)
    assert told == []


# ---------------------------------------------------------------------------------------------- what is no damage


@pytest.mark.parametrize(
    ("layout", "file", "damage"),
    [
        ("sd", VAE, without("scaling_factor", "sample_size", "force_upcast")),
        ("sd", SCHEDULER, without("prediction_type", "timestep_spacing", "set_alpha_to_one", "steps_offset")),
        ("sd", UNET, without("class_embed_type", "addition_embed_type", "num_class_embeds", "_class_name")),
        ("sd", TEXT_WEIGHTS, on_tensors(lambda tensors: tensors | {"text_projection.weight": torch.zeros(2, 2)})),
        ("sd", "tokenizer/added_tokens.json", being_json({})),
        ("sd", INDEX, with_fields(safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])),
        ("sd", "notes.safetensors", being(b"not of the model")),
        ("stage_1", "safety_checker/model.safetensors", gone),
    ],
)
def test_what_older_and_larger_models_have_is_taken(
    layout: str, file: str, damage: Damage, folders: Folders, tmp_path: Path
) -> None:
    import main

    folder = damaged(folders[layout], tmp_path / "m", file, damage)
    assert main.main(argv(layout, folder, folders, tmp_path / "out")) == 0
