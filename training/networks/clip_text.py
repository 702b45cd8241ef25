"""A very small CLIP text encoder whose tokenizer knows every word of the captions."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.drawing import landscape_captions
from training.drawing.wording import Wording

MAX_LENGTH = 32
START, END = "<|startoftext|>", "<|endoftext|>"


def write_tokenizer(folder: Path, wording: Wording = landscape_captions.WORDING) -> None:
    """Save a CLIP tokenizer, as the Hub's two legacy files, in which every word of the captions is one token."""
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=20_000, min_frequency=1, end_of_word_suffix="</w>", initial_alphabet=bytes_, show_progress=False
    )
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.pre_tokenizer = pre_tokenizers.Whitespace()
    trained.train_from_iterator((word for group in wording.words().values() for word in group), trainer)
    merges = [" ".join(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    pieces = [*bytes_, *(byte + "</w>" for byte in bytes_), *(merge.replace(" ", "") for merge in merges)]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys([*pieces, START, END]))}
    settings = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END, "do_lower_case": True}
    _write_files(folder, vocabulary, merges, settings | {"model_max_length": MAX_LENGTH})


def _write_files(folder: Path, vocabulary: dict[str, int], merges: list[str], settings: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    special = {name: value for name, value in settings.items() if name.endswith("_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n", encoding="utf-8")
    config = settings | {"add_prefix_space": False, "errors": "replace", "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def make_text_encoder(tokenizer: CLIPTokenizer, width: int = 128) -> CLIPTextModel:
    """Return an untrained text encoder of one layer."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=MAX_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def tokenize(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> torch.Tensor:
    """Return token ids [B, 32], as diffusers' Stable Diffusion pipelines make them."""
    batch = tokenizer(list(texts), padding="max_length", max_length=MAX_LENGTH, truncation=True, return_tensors="pt")
    return batch.input_ids
