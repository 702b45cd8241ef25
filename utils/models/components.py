"""Whether the files of a model's components are complete, as far as that shows without loading weights or torch.

Libraries fill in what a configuration, a vocabulary or a schedule does not say; the picture is then another one. So
whatever decides a picture must be said here. Every check raises ValueError with a reason that names the file.
"""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.models.parts import PARTS, SHARE, Part, is_list, is_size

Config = dict[str, Any]

CONFIG_NAMES = {"scheduler": "scheduler_config.json", "image_noising_scheduler": "scheduler_config.json",
                "low_res_scheduler": "scheduler_config.json", "tokenizer": "tokenizer_config.json"}  # fmt: skip
BESIDE = ("model_index.json", "words.json")  # files that lie beside the components' folders
ALONE = ""  # the component of a model that is one network: its files lie in the model's folder itself
NOISING = ("image_noising_scheduler", "low_res_scheduler")  # of the picture that a stage enlarges
TRAINED_STEPS = 1000  # of a noising schedule: its noise levels are chosen from these

PREDICTED = ("epsilon", "v_prediction")
CLIP_ENDS = ("<|startoftext|>", "<|endoftext|>")  # the pieces of CLIP's vocabulary that no merge makes


def check_components(folder: Path, components: Mapping[str, str]) -> None:
    """Check the small files of the components that a run needs.

    Args:
        folder: in the Hub's layout; weights need not be there.
        components: names of its subfolders, or :data:`ALONE` -> their kinds, keys of ``PARTS``.

    Raises:
        ValueError: why the model is incomplete or of another kind.
    """
    if ALONE in components:
        _check_alone(read_config(folder, ALONE), PARTS[components[ALONE]])
        return
    index = read_json(folder / "model_index.json")
    configs = {name: read_config(folder, name) for name in sorted(components)}
    for name, config in configs.items():
        part, file = PARTS[components[name]], f"{name}/{config_name(name)}"
        _check_class(index.get(name), config, name, part)
        _check_fields(config, part, file)
        if components[name] == "betas":
            _check_betas(config, name, file)
    if components.get("unet") == "unet":
        _check_unet(configs)
    if "tokenizer" in components:
        is_clip = components["tokenizer"] == "clip_tokenizer"
        check_tokenizer(folder / "tokenizer", configs["tokenizer"], configs["text_encoder"], is_clip)


# ---------------------------------------------------------------------------------------------- configurations


def config_name(component: str) -> str:
    """Return the file name of a component's configuration."""
    return CONFIG_NAMES.get(component, "config.json")


def read_config(folder: Path, component: str) -> Config:
    """Return the configuration of a component.

    Raises:
        ValueError: there is none, or it is no JSON object.
    """
    path = folder / component / config_name(component)
    return read_json(path, path.name if component == ALONE else "")


def read_json(path: Path, label: str = "") -> Config:
    """Return the JSON object in a file of a model.

    Args:
        label: what messages call the file; by default its name, with its folder's where it is a component's.

    Raises:
        ValueError: there is none.
    """
    label = label or (path.name if path.name in BESIDE else f"{path.parent.name}/{path.name}")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{label} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{label} cannot be read") from error
    if not isinstance(value, dict):
        raise ValueError(f"{label} holds no JSON object")
    return value


def _check_alone(config: Config, part: Part) -> None:
    """Check a model that is one network."""
    if config.get("_class_name") not in part.classes:
        raise ValueError(f"by config.json, it is {config.get('_class_name')!r}, wanted is {part.classes[0]}")
    _check_fields(config, part, "config.json")


def _check_class(entry: Any, config: Config, name: str, part: Part) -> None:
    """Check which class a component is of, as model_index.json says and as its own configuration does, if it does."""
    indexed = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    if indexed is None:
        raise ValueError(f"model_index.json does not say what {name} is")
    for file, found in (("model_index.json", indexed), (config_name(name), config.get("_class_name", indexed))):
        if found not in part.classes:
            raise ValueError(f"by {file}, {name} is {found!r}, wanted is {part.wanted or part.classes[0]}")


def _check_fields(config: Config, part: Part, file: str) -> None:
    lacking = [name for name in part.fields if name not in config]
    if lacking:
        raise ValueError(f"{file} does not say {', '.join(lacking)}")
    for name, wanted in {**part.fields, **part.optional}.items():
        if name in config and not wanted.holds(config[name]):
            raise ValueError(f"{file}: {name} is {_shown(config[name])}, wanted is {wanted.words}")
    if "block_out_channels" in part.fields:
        _check_blocks(config, file)


def _check_blocks(config: Config, file: str) -> None:
    """Check that the lists of a network of blocks belong together."""
    channels, groups = config["block_out_channels"], config["norm_num_groups"]
    lists = [name for name in ("down_block_types", "up_block_types") if name in config]
    if any(len(config[name]) != len(channels) for name in lists):
        raise ValueError(f"{file}: {', '.join(lists)} and block_out_channels differ in length")
    if any(number % groups for number in channels):
        raise ValueError(f"{file}: norm_num_groups {groups} does not divide all of block_out_channels {channels}")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _check_unet(configs: Mapping[str, Config]) -> None:
    """Check that a network fits what it works on: the VAE's latents or pixels, the text, and a noise level if told."""
    unet = configs["unet"]
    enlarges = any(name in configs for name in NOISING)
    channels = configs["vae"]["latent_channels"] if "vae" in configs else 3
    outputs = (channels,) if "vae" in configs else (3, 6)  # IF's network predicts a variance, too
    if unet["out_channels"] not in outputs or not (enlarges or unet["in_channels"] == channels):
        raise ValueError(
            f"unet/config.json: {unet['in_channels']} channels come in and {unet['out_channels']} go out, where the "
            f"states have {channels}"
        )
    told = unet.get("class_embed_type") is not None or unet.get("num_class_embeds") is not None
    if told != enlarges:
        words = "is not told the noise level" if enlarges else "wants to be told a class or noise level"
        raise ValueError(f"unet/config.json: the network {words}")
    read, text = text_width(unet), configs.get("text_encoder", {})
    written = text.get("hidden_size", text.get("d_model", read))
    if read not in (None, written):
        raise ValueError(f"unet/config.json: the network reads text of width {read}, text_encoder writes {written}")


def text_width(unet: Config) -> int | None:
    """Return the width of the embeddings that a network reads; None where its layers read several."""
    width = unet.get("encoder_hid_dim") or unet["cross_attention_dim"]
    return width if is_size(width) else None


def _check_betas(config: Config, name: str, file: str) -> None:
    steps, betas = config["num_train_timesteps"], config.get("trained_betas")
    predicted = config.get("prediction_type", PREDICTED[0])
    if predicted not in PREDICTED:
        raise ValueError(f"{file}: the network predicts {predicted!r}, wanted is {' or '.join(PREDICTED)}")
    if betas is not None and not (is_list(betas, SHARE.holds) and len(betas) == steps):
        raise ValueError(f"{file}: trained_betas is no list of {steps} numbers above 0, at most 1")
    if name in NOISING and steps != TRAINED_STEPS:
        raise ValueError(f"{file}: num_train_timesteps is {steps}, wanted is {TRAINED_STEPS}")


# ---------------------------------------------------------------------------------------------- tokenizers


def check_tokenizer(folder: Path, config: Config, text_config: Config, is_clip: bool) -> None:
    """Check that a tokenizer has its whole vocabulary, and the text encoder a row for every piece of it.

    Args:
        folder: of tokenizer.json, or of the older form: vocab.json and merges.txt of CLIP, spiece.model of T5.
        config: of the tokenizer.
        text_config: of the text encoder.
        is_clip: CLIP's, else T5's.

    Raises:
        ValueError: a file is missing or damaged.
    """
    length = config.get("model_max_length")
    if is_clip and not (is_size(length) and length <= text_config["max_position_embeddings"]):
        raise ValueError(
            f"tokenizer/tokenizer_config.json: model_max_length is {_shown(length)}, wanted is a whole number from 1 "
            f"to {text_config['max_position_embeddings']}"
        )
    _check_special(config, "tokenizer_config.json")
    if (folder / "tokenizer.json").exists():
        pieces = _read_tokenizer_json(folder / "tokenizer.json", is_clip)
    else:  # of the older form, whose second file decides: by it, Stable Diffusion 2 pads with "!"
        _check_special(read_json(folder / "special_tokens_map.json"), "special_tokens_map.json")
        pieces = _read_clip_vocabulary(folder) if is_clip else _read_sentencepiece(folder / "spiece.model")
    if pieces > text_config["vocab_size"]:
        raise ValueError(
            f"the vocabulary in tokenizer has {pieces} pieces, text_encoder knows {text_config['vocab_size']}"
        )


def _check_special(config: Config, file: str) -> None:
    lacking = [name for name in ("eos_token", "pad_token") if not config.get(name)]
    if lacking:
        raise ValueError(f"tokenizer/{file} does not say {', '.join(lacking)}")


def _read_tokenizer_json(path: Path, is_clip: bool) -> int:
    """Return how many pieces tokenizer.json has."""
    from tokenizers import Tokenizer

    model = read_json(path).get("model")
    wanted = "BPE" if is_clip else "Unigram"
    if not isinstance(model, dict) or model.get("type") != wanted or not model.get("vocab"):
        raise ValueError(f"tokenizer/tokenizer.json holds no {wanted} vocabulary")
    try:
        pieces = Tokenizer.from_file(str(path)).get_vocab_size()
    except Exception as error:  # the library raises this very class
        raise ValueError("tokenizer/tokenizer.json is damaged") from error
    if is_clip:
        merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
        _check_merges(model["vocab"], merges, "tokenizer/tokenizer.json")
    return pieces


def _read_clip_vocabulary(folder: Path) -> int:
    """Return how many pieces vocab.json has, each made by merges.txt but for single letters and the two ends."""
    vocabulary = read_json(folder / "vocab.json")
    ids = [number for number in vocabulary.values() if type(number) is int and number >= 0]
    if len(set(ids)) < len(vocabulary) or not vocabulary:
        raise ValueError("tokenizer/vocab.json does not give every piece a number of its own")
    try:
        lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise ValueError("tokenizer/merges.txt is missing") from error
    except (OSError, ValueError) as error:
        raise ValueError("tokenizer/merges.txt cannot be read") from error
    merges = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    _check_merges(vocabulary, merges, "tokenizer/vocab.json with merges.txt")
    return max(ids) + 1


def _check_merges(vocabulary: Mapping[str, int], merges: list[list[str]], files: str) -> None:
    """Check that merges and vocabulary belong together: neither lacks what the other has."""
    if not all(len(merge) == 2 for merge in merges):
        raise ValueError(f"{files}: a merge is no pair of pieces")
    made, known = {first + second for first, second in merges}, vocabulary.keys()
    unmade = {piece for piece in known - made if len(piece.removesuffix("</w>")) > 1}
    lacking = made.union(CLIP_ENDS, itertools.chain.from_iterable(merges)) - known | unmade - {*CLIP_ENDS}
    if lacking:
        raise ValueError(f"{files} is incomplete: {len(lacking)} pieces of one are not in the other")


def _read_sentencepiece(path: Path) -> int:
    """Return how many pieces a sentencepiece model has."""
    from sentencepiece import SentencePieceProcessor

    if not path.is_file():
        raise ValueError(f"tokenizer/{path.name} is missing")
    try:
        pieces = SentencePieceProcessor(model_proto=path.read_bytes()).get_piece_size()
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"tokenizer/{path.name} is damaged") from error
    if not pieces:
        raise ValueError(f"tokenizer/{path.name} is empty")
    return pieces


# ---------------------------------------------------------------------------------------------- weights


def check_weights(path: Path) -> None:
    """Check that a safetensors file is whole: its header can be read, and its length is what that says.

    Raises:
        ValueError: it is not.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):
            pass
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path.parent.name}/{path.name} is damaged: {error}") from error
