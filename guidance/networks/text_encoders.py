"""From prompts to embeddings: CLIP, and T5 with a cache on disk. An encoder is in memory only while it encodes."""

import contextlib
import hashlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5Tokenizer

from guidance.networks.loading import free_memory, load_network, reading
from utils.files import write_atomic
from utils.models.model_source import ModelSource
from utils.models.runtime import Runtime, cache_folder

Embeddings = dict[str, torch.Tensor]
T5_TOKENS = 77  # T5 reads more, IF was trained with so many
SHOWN = 200  # characters of what a prompt has too much

logger = logging.getLogger(__name__)


class TextEncoder(ABC):
    """Embeddings of prompts by one model's text encoder.

    Args:
        source: of the model whose ``text_encoder`` and ``tokenizer`` are used.
        runtime: device and number format.

    Attributes:
        embeddings: prompt -> embedding ``[1, L, D]`` on the device, of all prompts encoded so far.
    """

    def __init__(self, source: ModelSource, runtime: Runtime):
        self.source, self.runtime = source, runtime
        self.embeddings: Embeddings = {}

    def encode_prompts(self, prompts: Iterable[str]) -> Embeddings:
        """Return :attr:`embeddings`, first encoding prompts that are not among them; may be called at any time.

        Raises:
            UserError: weight files are missing, damaged or incomplete.
        """
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.embeddings]
        if new:
            self.embeddings |= self._encode(new)
        return self.embeddings

    def _encode(self, prompts: Sequence[str]) -> Embeddings:
        """Encode new prompts: with ``--offload`` the encoder is alone on the device, and it is gone afterwards."""
        self.runtime.make_room()
        with torch.inference_mode():
            tokenizer, network = self._load()
            network = self.runtime.place(network).to(self.runtime.device)
            embeddings = {prompt: self._embed(prompt, tokenizer, network) for prompt in prompts}
        del tokenizer, network
        free_memory(self.runtime)
        return embeddings

    @abstractmethod
    def _load(self) -> tuple[Any, Any]:
        """Load the tokenizer and the network."""

    @abstractmethod
    def _embed(self, prompt: str, tokenizer: Any, network: Any) -> torch.Tensor:
        """Return the embedding ``[1, L, D]`` of one prompt."""

    def _load_parts(self, tokenizer_class: Any, network_class: Any) -> tuple[Any, Any]:
        network = load_network(network_class, self.source, "text_encoder", self.runtime)
        with reading(self.source):
            return tokenizer_class.from_pretrained(self.source.folder / "tokenizer", local_files_only=True), network

    def _tokenize(self, prompt: str, tokenizer: Any, length: int, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the numbers of a prompt's pieces and the mask of those that are no padding, ``[1, length]`` each."""
        pieces = tokenizer(prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        if int(pieces.input_ids.max()) >= vocabulary:
            raise self.source.unusable(
                f"tokenizer numbers pieces from {vocabulary} on, which text_encoder does not know"
            )
        whole = tokenizer(prompt, verbose=False).input_ids
        if len(whole) > length:
            rest = tokenizer.decode(whole[length - 1 : -1])
            shown = rest if len(rest) <= SHOWN else f"{rest[: SHOWN - 3]}..."
            logger.warning("of a prompt only the first %d tokens count, not: %s", length, shown)
        return pieces.input_ids.to(self.runtime.device), pieces.attention_mask.to(self.runtime.device)


class ClipText(TextEncoder):
    """CLIP's text encoder: the last layer's output, normalised."""

    def _load(self) -> tuple[CLIPTokenizer, CLIPTextModel]:
        return self._load_parts(CLIPTokenizer, CLIPTextModel)

    def _embed(self, prompt: str, tokenizer: CLIPTokenizer, network: CLIPTextModel) -> torch.Tensor:
        length, config = tokenizer.model_max_length, network.config
        numbers, mask = self._tokenize(prompt, tokenizer, length, config.vocab_size)
        masked = getattr(config, "use_attention_mask", False)  # Stable Diffusion's reads its padding, too
        return network(numbers, attention_mask=mask if masked else None)[0].to(network.dtype)


class T5Text(TextEncoder):
    """T5's encoder as DeepFloyd IF uses it, with a cache of embeddings on disk, since it is by far the largest network.

    The cache's key is the content: commit or hash of the weights, the weight files' variant, the number format, and the
    prompt. What cannot be read there is encoded anew.
    """

    def _load(self) -> tuple[T5Tokenizer, T5EncoderModel]:
        return self._load_parts(T5Tokenizer, T5EncoderModel)

    def _embed(self, prompt: str, tokenizer: T5Tokenizer, network: T5EncoderModel) -> torch.Tensor:
        numbers, mask = self._tokenize(prompt.lower().strip(), tokenizer, T5_TOKENS, network.config.vocab_size)
        return network(numbers, attention_mask=mask)[0].to(network.dtype)

    def _encode(self, prompts: Sequence[str]) -> Embeddings:
        paths = self._cache_paths(prompts)
        cached = {prompt: self._read(path) for prompt, path in paths.items()}
        known = {prompt: embedding for prompt, embedding in cached.items() if embedding is not None}
        missing = [prompt for prompt in prompts if prompt not in known]
        new = super()._encode(missing) if missing else {}
        for prompt, embedding in new.items():
            with contextlib.suppress(OSError):  # a cache that cannot be written costs time in the next run, no picture
                paths[prompt].parent.mkdir(parents=True, exist_ok=True)
                write_atomic(paths[prompt], save({"embedding": embedding.cpu().contiguous()}))
        return {prompt: (known | new)[prompt].to(self.runtime.device) for prompt in prompts}

    def _cache_paths(self, prompts: Sequence[str]) -> dict[str, Path]:
        """Return the file in the cache of every prompt."""
        identity = self.source.identity()
        variant = self.source.weight_variant(self.runtime.variant, self.runtime.half)
        key = [identity["commit"] or identity["sha256"], variant, str(self.runtime.dtype)]
        names = {prompt: hashlib.sha256(json.dumps([*key, prompt]).encode()).hexdigest() for prompt in prompts}
        return {prompt: cache_folder() / "t5_embeddings" / f"{name}.safetensors" for prompt, name in names.items()}

    def _read(self, path: Path) -> torch.Tensor | None:
        """Return an embedding of the cache, or None where there is none, or none that could be of this model."""
        try:
            embedding = load_file(path)["embedding"]
        except (OSError, SafetensorError, KeyError):
            return None
        expected = (1, T5_TOKENS, self.source.config("text_encoder")["d_model"]), self.runtime.dtype
        return embedding if (tuple(embedding.shape), embedding.dtype) == expected else None
