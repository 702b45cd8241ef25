"""One contract for every network: eps in all views out of x_t in all views. And what surrounds the networks."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch

from guidance.schedule import alphas_cumprod


@dataclass(frozen=True)
class Conditioning:
    """What a network is told besides x_t and t, one row per view.

    Attributes:
        text: embeddings of the views' prompts ``[N, L, D]``, or of the one that all share ``[1, L, D]``.
        null_text: embedding of the empty prompt ``[1, L, D]``.
        low_res: pictures to enlarge, already at this stage's size ``[N, C, h, w]``; None in the first stage.
        noise_level: timestep of the noise in ``low_res``, told as class label; None in the first stage.
        guidance_shares: how much of the way from no guidance to the guidance scale each view has ``[N]``; None is all.
        control: pictures for a ControlNet, at pixel size ``[N, 3, H, W]`` in [0, 1]; None where the network has none.
    """

    text: torch.Tensor
    null_text: torch.Tensor
    low_res: torch.Tensor | None = None
    noise_level: int | None = None
    guidance_shares: torch.Tensor | None = None
    control: torch.Tensor | None = None

    def guidance(self, scale: float, rows: slice) -> torch.Tensor | float:
        """Return the guidance scale of some views, a number or ``[n, 1, 1, 1]``."""
        if self.guidance_shares is None:
            return scale
        return 1 + (scale - 1) * self.guidance_shares[rows, None, None, None]


class NoisePredictor(Protocol):
    """A network as the steps see it; each family of weights has one, most of them a :class:`Denoiser`."""

    @property
    def scheduler_config(self) -> dict[str, Any]:
        """Configuration of the scheduler that belongs to the network."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the network runs, and with it the states."""
        ...

    def predict_eps(
        self, xts: torch.Tensor, timestep: int, conditioning: Conditioning, guidance_scale: float, batch_size: int
    ) -> torch.Tensor:
        """Predict the noise in every view, see :meth:`Denoiser.predict_eps`."""
        ...


class Denoiser:
    """A pretrained UNet as a function from x_t to eps.

    It drops the variance half of IF's output, turns v-predictions into eps, and puts the unconditional half first.

    Args:
        unet: ``UNet2DConditionModel`` or alike, in its own dtype, frozen.
        scheduler_config: of the pipeline's own scheduler; it predicts ``epsilon`` or ``v_prediction``.
        device: where ``unet`` runs.
        compile: let ``torch.compile`` translate the network at its first call, for batches of one shape.
    """

    def __init__(self, unet: Any, scheduler_config: dict[str, Any], device: torch.device, compile: bool = False):
        self.compiled, self.padded_to = compile, 0  # views of a compiled network's calls so far, 0 before the first
        if compile:
            unet.compile(dynamic=False)
        self.unet, self.device = unet, device
        self.scheduler_config: dict[str, Any] = dict(scheduler_config)
        self.alphas_cumprod = alphas_cumprod(self.scheduler_config)
        self.predicts_v = self.scheduler_config.get("prediction_type", "epsilon") == "v_prediction"

    def predict_eps(
        self, xts: torch.Tensor, timestep: int, conditioning: Conditioning, guidance_scale: float, batch_size: int
    ) -> torch.Tensor:
        """Predict the noise in every view, ``batch_size`` views per network call.

        Args:
            xts: ``[N, C, h, w]``, float32 or float64.
            timestep: one for all views.
            conditioning: of all N views.
            guidance_scale: w in eps = eps_null + w (eps_text - eps_null); at 1 the null half is not computed.
            batch_size: at least 1.

        Returns:
            eps ``[N, C, h, w]`` in the dtype of ``xts``.
        """
        outputs, size = [], self._views_per_call(len(xts), batch_size)
        for start in range(0, len(xts), size):
            rows = slice(start, start + size)
            padding = max(0, start + size - len(xts)) if self.compiled else 0
            outputs.append(self._predict(xts[rows], timestep, rows, conditioning, guidance_scale, padding))
        output = torch.cat(outputs)
        if self.predicts_v:
            abar = self.alphas_cumprod[timestep]
            return abar.sqrt().item() * output + (1 - abar).sqrt().item() * xts
        return output

    def _views_per_call(self, views: int, batch_size: int) -> int:
        """Return how many views a call takes: all the same; a compiled network as many as ever, to keep its shape."""
        calls = -(-views // batch_size)
        size = min(batch_size, max(-(-views // calls), self.padded_to))
        self.padded_to = size if self.compiled else 0
        return size

    def _predict(
        self,
        xts: torch.Tensor,
        timestep: int,
        rows: slice,
        conditioning: Conditioning,
        guidance_scale: float,
        padding: int,
    ) -> torch.Tensor:
        """Call the network for some rows of the conditioning, with ``padding`` more whose output is dropped."""
        text = conditioning.text if len(conditioning.text) == 1 else conditioning.text[rows]
        inputs, text = xts, text.expand(len(xts), -1, -1)
        if conditioning.low_res is not None:
            inputs = torch.cat([inputs, conditioning.low_res[rows].to(inputs.dtype)], dim=1)
        guided, dtype = guidance_scale != 1.0, self.unet.dtype
        inputs, text = _rows_of_call(inputs, padding, guided), _repeat_last(text, padding)
        if guided:
            text = torch.cat([conditioning.null_text.expand_as(text), text])
        told: dict[str, torch.Tensor] = {}
        if conditioning.noise_level is not None:
            told["class_labels"] = torch.full((len(inputs),), conditioning.noise_level, device=self.device)
        if conditioning.control is not None:
            control = _rows_of_call(conditioning.control[rows], padding, guided)
            told["controlnet_cond"] = control.to(self.device, dtype)
        output = self.unet(
            inputs.to(dtype),
            torch.full((), timestep, device=self.device),
            encoder_hidden_states=text.to(self.device, dtype),
            return_dict=False,
            **told,
        )[0]
        output = output[:, : xts.shape[1]].to(xts.dtype)
        if not guided:
            return output[: len(xts)]
        null, prompted = (half[: len(xts)] for half in output.chunk(2))
        return null + conditioning.guidance(guidance_scale, rows) * (prompted - null)


def _rows_of_call(rows: torch.Tensor, padding: int, guided: bool) -> torch.Tensor:
    """Return what a call sees of rows that both halves of guidance share."""
    rows = _repeat_last(rows, padding)
    return torch.cat([rows, rows]) if guided else rows


def _repeat_last(rows: torch.Tensor, count: int) -> torch.Tensor:
    return torch.cat([rows, *[rows[-1:]] * count]) if count else rows
