"""A very small T5 text encoder whose tokenizer knows the words of a closed set of captions."""

import torch
from transformers import T5Config, T5EncoderModel, T5Tokenizer

MAX_LENGTH = 77
WIDTH = 96


def make_tokenizer(captions: list[str]) -> T5Tokenizer:
    """Return a T5 tokenizer in which every word of the captions, in lower case, is one token."""
    words = sorted({word for caption in captions for word in caption.lower().split()})
    vocabulary = [(token, 0.0) for token in ("<pad>", "</s>", "<unk>")] + [(f"▁{word}", -1.0) for word in words]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=MAX_LENGTH)


def make_text_encoder(tokenizer: T5Tokenizer) -> T5EncoderModel:
    """Return an untrained encoder of one layer for the tokenizer's vocabulary."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=WIDTH,
        d_kv=24,
        d_ff=2 * WIDTH,
        num_layers=1,
        num_heads=4,
        dropout_rate=0.0,
        is_encoder_decoder=False,
        use_cache=False,
    )
    return T5EncoderModel(config)


def tokenize(tokenizer: T5Tokenizer, captions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and attention mask, ``[n, 77]`` each, exactly as diffusers' IF pipelines make them."""
    lowered = [caption.lower().strip() for caption in captions]
    batch = tokenizer(lowered, padding="max_length", max_length=MAX_LENGTH, truncation=True, return_tensors="pt")
    return batch.input_ids, batch.attention_mask
