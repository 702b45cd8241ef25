"""The toy app's model: three turned windows on a tall canvas of pixels."""

import torch

from guidance.base_model import BaseModel, Stage
from guidance.networks.deepfloyd import load_deepfloyd_stage
from guidance.networks.denoisers import Conditioning
from guidance.networks.text_encoders import T5Text
from utils.images import to_pil, to_unit_range


class TotemModel(BaseModel):
    def __init__(self, options, source, runtime):
        self.text = T5Text(source, runtime)
        self.networks = load_deepfloyd_stage(source, runtime)
        self.size = self.networks.size
        super().__init__(options)

    @classmethod
    def load(cls, options, sources, runtime):
        return cls(options, sources["stage_1_path"], runtime)

    def prepare(self, prompts):
        self.embeddings = self.text.encode_prompts(["", *prompts])

    def init_mapper(self):
        self.mapper = [(index * self.size // 2, index * self.options.lean) for index in range(3)]

    def forward_mapping(self, z_t, bg=None):
        size = self.size
        return torch.cat([torch.rot90(z_t[:, :, top : top + size], -turns, (2, 3)) for top, turns in self.mapper])

    def inverse_mapping(self, x_ts):
        sums = x_ts.new_zeros(1, x_ts.shape[1], 2 * self.size, self.size)
        total = torch.zeros_like(sums)
        for (top, turns), x_t in zip(self.mapper, x_ts.split(1), strict=True):
            sums[:, :, top : top + self.size] += torch.rot90(x_t, turns, (2, 3))
            total[:, :, top : top + self.size] += 1
        return sums / total

    def generate(self, request, seed):
        text = torch.cat([self.embeddings[prompt] for prompt in request.prompts])
        conditioning = Conditioning(text, self.embeddings[request.inputs.get("negative_prompt") or ""])
        self.open_stage(Stage.from_options(self.options, self.networks.denoiser, conditioning))
        generator = torch.Generator().manual_seed(seed)
        states = self.initial_states((1, 3, 2 * self.size, self.size), (3, 3, self.size, self.size), generator)
        for state in self.denoise(states, generator):
            self.last = state
            yield state

    def render(self, state, files):
        pole = to_pil(to_unit_range(state.z_t_1[0]))
        faces = iter([to_pil(to_unit_range(face)) for face in self.forward_mapping(state.z_t_1)])
        made = {"pole": lambda: pole, "face": lambda: next(faces), "note": lambda: b"three faces"}
        return {entry["file"]: made[entry["role"]]() for entry in files if entry["role"] in made}

    def latents(self):
        return {"canvas": self.last.z_t_1.float().cpu()}
