"""What every training script shares: options, a loop that checkpoints and resumes, averaged weights.

A training run is a pure function of its options: the batch of step ``i`` is drawn from a generator seeded with
``(seed, i)``, so a run that was killed and resumed sees exactly the batches of one that was not.
"""

import argparse
import contextlib
import copy
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

LossFunction = Callable[[np.random.Generator], torch.Tensor]


def make_parser(description: str, *, steps: int, batch_size: int, learning_rate: float) -> argparse.ArgumentParser:
    """Return a parser with the options every training script has, with this script's defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--steps", type=int, default=steps, help="optimizer steps; more than a finished run trains on")
    parser.add_argument("--batch_size", type=int, default=batch_size, help="pictures per step")
    parser.add_argument("--learning_rate", type=float, default=learning_rate, help="peak of the cosine schedule")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batches")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="torch device")
    parser.add_argument("--checkpoint_dir", type=Path, default=Path("checkpoints"), help="where the run can resume")
    parser.add_argument("--checkpoint_every", type=float, default=120.0, help="seconds between checkpoints")
    parser.add_argument("--output_dir", type=Path, default=Path("data/models"), help="where the model is saved")
    return parser


def learning_rate_at(step: int, steps: int, peak: float, warmup: int = 200) -> float:
    """Return the learning rate of a step: linear warm-up, then half a cosine down to zero."""
    warmup = max(1, min(warmup, steps // 10))
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def autocast(device: str) -> contextlib.AbstractContextManager:
    """Return bfloat16 autocast for the device's type; weights and optimizer stay in float32."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


class Trainer:
    """Train a module with AdamW, keep an exponential average of its weights, survive being killed.

    Args:
        name: file name of the checkpoint, ``<checkpoint_dir>/<name>.pt``.
        module: all weights that are trained, in float32 on ``options.device``.
        options: what :func:`make_parser` parsed.
        ema_decay: decay of the averaged copy ``self.ema``, the weights to ship.
    """

    def __init__(self, name: str, module: nn.Module, options: argparse.Namespace, ema_decay: float = 0.999):
        self.module, self.options, self.ema_decay = module, options, ema_decay
        self.ema = copy.deepcopy(module).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(module.parameters(), lr=options.learning_rate, weight_decay=1e-4)
        self.path = options.checkpoint_dir / f"{name}.pt"
        self.step = 0
        self.losses: list[float] = []
        if self.path.exists():
            self._load()

    def fit(self, loss_function: LossFunction, log_every: int = 100) -> list[float]:
        """Run the remaining steps. ``loss_function(rng)`` draws one batch and returns its scalar loss.

        Returns:
            The loss of every ``log_every`` steps (their mean), from the first step of the run on.
        """
        saved, started, window = time.monotonic(), time.monotonic(), []
        first = self.step
        self.module.train()
        while self.step < self.options.steps:
            window.append(self._train_step(loss_function))
            if self.step % log_every == 0 or self.step == self.options.steps:
                self.losses.append(torch.stack(window).mean().item())
                window = []
                speed = (self.step - first) * self.options.batch_size / (time.monotonic() - started)
                print(f"step {self.step}/{self.options.steps} loss {self.losses[-1]:.4f} {speed:.1f}/s", flush=True)
            if time.monotonic() - saved > self.options.checkpoint_every:
                self._save()
                saved = time.monotonic()
        self._save()
        return self.losses

    def _train_step(self, loss_function: LossFunction) -> torch.Tensor:
        rng = np.random.default_rng((self.options.seed, self.step))
        torch.manual_seed(int(rng.integers(2**62)))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(self.step, self.options.steps, self.options.learning_rate)
        with autocast(self.options.device):
            loss = loss_function(rng)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self._average()
        return loss.detach().float()

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.ema_decay, (1 + self.step) / (10 + self.step))
        average, current = list(self.ema.parameters()), list(self.module.parameters())
        torch._foreach_lerp_(average, current, 1.0 - decay)
        for kept, buffer in zip(self.ema.buffers(), self.module.buffers(), strict=True):
            kept.copy_(buffer)

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        state = {
            "step": self.step,
            "losses": self.losses,
            "module": self.module.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, temporary)
        temporary.replace(self.path)

    def _load(self) -> None:
        state = torch.load(self.path, map_location=self.options.device, weights_only=True)
        self.module.load_state_dict(state["module"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.losses = state["step"], state["losses"]
        print(f"resumed {self.path.name} at step {self.step}", flush=True)
