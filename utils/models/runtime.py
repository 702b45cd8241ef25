"""Where networks run and in which number format: decided once per process, here."""

import datetime
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from accelerate import PartialState, cpu_offload_with_hook
from accelerate.hooks import UserCpuOffloadHook
from accelerate.utils import broadcast_object_list

from utils.errors import UserError

Network = TypeVar("Network", bound=torch.nn.Module)
COMPILERS = ("g++", "clang++", "cl")
PROCESS_TIMEOUT = datetime.timedelta(hours=12)  # how long processes wait for each other: a batch may be long
ALLOWED_DTYPES = {
    "cpu": ("float32", "bfloat16"),
    "mps": ("float32",),
    "cuda": ("float16", "bfloat16", "float32"),
    "xpu": ("bfloat16", "float16", "float32"),
}  # the first is what --dtype auto takes, but see _auto_dtype


class RuntimeOptions(Protocol):
    """The options that decide where and how networks run."""

    @property
    def device(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def gpu(self) -> int | None: ...
    @property
    def offload(self) -> bool: ...
    @property
    def compile(self) -> bool: ...
    @property
    def variant(self) -> str: ...


@dataclass(frozen=True)
class Runtime:
    """Device, number format and memory policy of one process.

    Attributes:
        device: of the networks and of the state.
        dtype: of the networks; state, averages and schedule are float32 or better everywhere.
        offload: keep networks in main memory between their turns.
        variant: as :meth:`utils.models.model_source.ModelSource.weight_variant` takes it.
        compile: translate the networks of the loop with ``torch.compile``.
        hooks: what moves networks in and out, see :meth:`offload_in_turn`.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    offload: bool = False
    variant: str = "auto"
    compile: bool = False
    hooks: list[UserCpuOffloadHook] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def from_options(cls, options: RuntimeOptions, state: PartialState) -> "Runtime":
        """Choose device and dtype for this process.

        Raises:
            UserError: a device that is not here, a dtype that it does not run, or no compiler for ``--compile``.
        """
        device = _choose_device(options, state)
        allowed = ALLOWED_DTYPES[device.type]
        name = _auto_dtype(device) if options.dtype == "auto" else options.dtype
        if name not in allowed:
            raise UserError(f"--dtype {name} does not run on {device.type}: take {' or '.join(allowed)}.")
        if options.compile and device.type == "cpu" and not any(map(shutil.which, COMPILERS)):
            raise UserError(f"--compile needs a C++ compiler ({' or '.join(COMPILERS)}) on a CPU: install one.")
        return cls(device, getattr(torch, name), options.offload, options.variant, options.compile)

    @property
    def half(self) -> bool:
        """True where networks run in 16 bits."""
        return self.dtype != torch.float32

    @property
    def description(self) -> str:
        """The device and, on the CPU, its threads: they decide in which order floats are added, so the last bits."""
        return f"cpu, {torch.get_num_threads()} threads" if self.device.type == "cpu" else str(self.device)

    def place(self, module: Network) -> Network:
        """Freeze a network and, unless it is to be offloaded, move it to the device, channels last but on MPS."""
        module = module.eval().requires_grad_(False)
        if self.device.type != "mps":
            module = module.to(memory_format=torch.channels_last)
        return module if self.offload else module.to(self.device)

    def offload_in_turn(self, modules: list[torch.nn.Module]) -> None:
        """With ``--offload``, let each network move to the device for its turn and push the one before it out."""
        if not self.offload:
            return
        hooks = [cpu_offload_with_hook(module, self.device)[1] for module in modules]
        for before, hook in zip([hooks[-1], *hooks[:-1]], hooks, strict=True):
            if before is not hook:
                hook.hook.prev_module_hook = before
        self.hooks.extend(hooks)

    def make_room(self) -> None:
        """With ``--offload``, push networks out of the device that had their turn; their next one brings them back."""
        for hook in self.hooks:
            hook.offload()


def process_state(device: str) -> PartialState:
    """Join the other processes of a launch, if there are any; on machines without CUDA or XPU they talk over gloo.

    Args:
        device: as ``--device`` takes it.
    """
    cpu = device == "cpu" or not (torch.cuda.is_available() or torch.xpu.is_available())
    return PartialState(cpu=cpu, timeout=PROCESS_TIMEOUT)


def agree(text: str, state: PartialState) -> str:
    """Return the first process's text in all processes of a launch."""
    texts = [text]
    if state.num_processes > 1:
        broadcast_object_list(texts)
    return texts[0]


def accelerator_present() -> bool:
    """Return whether a GPU of any kind is here."""
    return torch.cuda.is_available() or torch.xpu.is_available() or torch.backends.mps.is_available()


def cache_folder() -> Path:
    """Return the folder of cached text embeddings: ``$DIFFUSION_SYNC_CACHE`` or one in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "diffusion_synchronization"
    return Path(os.environ.get("DIFFUSION_SYNC_CACHE", default))


def has_bfloat16_units() -> bool:
    """Return whether this processor multiplies bfloat16 faster than float32: AMX, or AVX-512 with BF16."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()  # no public name in torch 2.6


def _auto_dtype(device: torch.device) -> str:
    return "bfloat16" if device.type == "cpu" and has_bfloat16_units() else ALLOWED_DTYPES[device.type][0]


def _choose_device(options: RuntimeOptions, state: PartialState) -> torch.device:
    present = {
        "cuda": torch.cuda.is_available(),
        "xpu": torch.xpu.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    kind = options.device if options.device != "auto" else next(name for name, here in present.items() if here)
    if not present[kind]:
        here = ", ".join(name for name, is_here in present.items() if is_here)
        raise UserError(f"--device {kind} is not on this machine: take auto or one of {here}.")
    if kind in ("cpu", "mps"):
        if options.gpu is not None:
            raise UserError(f"--gpu {options.gpu}: this run uses {kind}, which has no numbered GPUs: leave it out.")
        return torch.device(kind)
    if options.gpu is not None and state.num_processes > 1:
        raise UserError(f"--gpu {options.gpu} with {state.num_processes} processes: each has its own: leave it out.")
    count = getattr(torch, kind).device_count()
    index = state.local_process_index if options.gpu is None else options.gpu
    if index >= count:
        raise UserError(f"GPU {index} was asked for, this machine has {count}: give --gpu 0 to {count - 1}.")
    return torch.device(kind, index)
