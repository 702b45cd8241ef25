"""The toy app's model: two views of pixels."""

import torch
from plain_networks import load_plain

from guidance.base_model import BaseModel, Stage
from guidance.networks.denoisers import Conditioning
from utils.images import to_pil, to_unit_range


class MirrorModel(BaseModel):
    def __init__(self, options, networks):
        self.networks = networks
        super().__init__(options)

    @classmethod
    def load(cls, options, sources, runtime):
        return cls(options, load_plain(sources["plain_path"], runtime))

    def prepare(self, prompts):
        """Nothing is encoded: the network reads no text."""

    def init_mapper(self):
        self.mapper = [False, True]

    def forward_mapping(self, z_t, bg=None):
        return torch.cat([z_t, z_t.flip(2)])

    def inverse_mapping(self, x_ts):
        return (x_ts[:1] + x_ts[1:].flip(2)) / 2

    def generate(self, request, seed):
        nothing = torch.zeros(1, 0, 0)
        self.open_stage(Stage.from_options(self.options, self.networks, Conditioning(nothing, nothing)))
        generator, size = torch.Generator().manual_seed(seed), self.networks.unet.config.sample_size
        yield from self.denoise(self.initial_states((1, 3, size, size), (2, 3, size, size), generator), generator)

    def render(self, state, files):
        return {entry["file"]: to_pil(to_unit_range(state.z_t_1[0])) for entry in files}

    def latents(self):
        return {}
