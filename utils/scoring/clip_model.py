"""A loaded CLIP model: features of pictures and prompts, float32 on the CPU. Torch is imported on demand."""

import pickle
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.errors import UserError
from utils.scoring.clip_files import LOCAL_PREFIX, ClipSource
from utils.scoring.clip_score import cosine_matrix

if TYPE_CHECKING:
    import torch
    from PIL import Image


class ClipScorer:
    """A loaded CLIP model in float32 on the CPU, frozen and in eval mode.

    Raises:
        UserError: the files do not fit together or cannot be read.
    """

    def __init__(self, source: ClipSource):
        import open_clip
        from open_clip.transform import PreprocessCfg, image_transform_v2

        self.source = source
        try:
            self.model: Any = _load_model(source).eval().requires_grad_(False)
            self.tokenize = open_clip.get_tokenizer(source.model)
        except UserError:
            raise
        except pickle.UnpicklingError as error:
            raise UserError(
                f"{source.weights} is no weights file: give safetensors or a PyTorch checkpoint."
            ) from error
        except Exception as error:
            raise UserError(f"{source.weights} cannot be loaded as {source.model}: {_first_line(error)}.") from error
        preprocess = PreprocessCfg(**open_clip.get_model_preprocess_cfg(self.model))
        self.preprocess: Any = image_transform_v2(preprocess, is_train=False)

    @property
    def logit_scale(self) -> float:
        """The model's factor on cosines, exponentiated."""
        return float(self.model.logit_scale.exp())

    def prepare(self, image: "Image.Image") -> "torch.Tensor":
        """Return an RGB picture of any size as the model wants it, ``[3, h, w]``, normalised."""
        return self.preprocess(image)

    def image_features(self, prepared: "Iterable[torch.Tensor]") -> np.ndarray:
        """Return the features ``[N, D]`` (float32, not normalised) of prepared pictures."""
        import torch

        with torch.inference_mode():
            return self.model.encode_image(torch.stack(list(prepared))).numpy()

    def text_features(self, prompts: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """Return the features ``[M, D]`` (float32, not normalised) of prompts, each cut to the model's length."""
        import torch

        batches = [list(prompts[start : start + batch_size]) for start in range(0, len(prompts), batch_size)]
        with torch.inference_mode():
            return np.concatenate([self.model.encode_text(self.tokenize(batch)).numpy() for batch in batches])

    def cosines(self, pictures: "Sequence[tuple[Image.Image, str]]") -> np.ndarray:
        """Return the cosine of every RGB picture with its own prompt, ``[N]`` in [-1, 1]."""
        images = self.image_features(self.prepare(image) for image, _ in pictures)
        return np.diag(cosine_matrix(images, self.text_features([prompt for _, prompt in pictures])))


def _load_model(source: ClipSource) -> "torch.nn.Module":
    import open_clip

    if source.model.startswith(LOCAL_PREFIX):
        return open_clip.create_model(source.model, precision="fp32", require_pretrained=True)
    if _is_torchscript(source.weights):
        return _load_torchscript(source)
    return open_clip.create_model(
        source.model, str(source.weights), precision="fp32", force_preprocess_cfg=_preprocess_of(source)
    )


def _preprocess_of(source: ClipSource) -> dict[str, Any]:
    """Return what a tag's weights want of the pictures besides the defaults (mean, std, interpolation)."""
    import open_clip

    known = open_clip.get_pretrained_cfg(source.model, source.pretrained) or {}
    return {key: known[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in known}


def _load_torchscript(source: ClipSource) -> "torch.nn.Module":
    """Load a TorchScript archive, the form of OpenAI's own ``.pt`` files, whose weights are float16."""
    import open_clip
    import torch
    from open_clip.transform import PreprocessCfg

    model: Any = open_clip.CLIP(**(open_clip.get_model_config(source.model) or {}))
    state = torch.jit.load(str(source.weights), map_location="cpu").state_dict()
    extra = ("input_resolution", "context_length", "vocab_size", "attn_mask")
    model.load_state_dict({name: value.float() for name, value in state.items() if name not in extra})
    open_clip.set_model_preprocess_cfg(model, asdict(PreprocessCfg(size=model.visual.image_size)))
    return model


def _is_torchscript(path: Path) -> bool:
    if path.suffix != ".pt" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".:")
