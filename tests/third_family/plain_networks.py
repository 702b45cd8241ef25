"""A toy family: a network of diffusers that reads no text and draws pictures of pixels."""

import torch
from diffusers import UNet2DModel

from guidance.networks.loading import load_network


class PlainPredictor:
    """Its network predicts the noise of a picture, whatever the prompt."""

    def __init__(self, unet, scheduler_config, device):
        self.unet, self.scheduler_config, self.device = unet, scheduler_config, device

    def predict_eps(self, xts, timestep, conditioning, guidance_scale, batch_size):
        with torch.no_grad():
            outputs = [self.unet(some.to(self.unet.dtype), timestep).sample for some in xts.split(batch_size)]
        return torch.cat(outputs).to(xts.dtype)


def load_plain(source, runtime):
    """Load the network that ``source`` names."""
    unet = runtime.place(load_network(UNet2DModel, source, "unet", runtime))
    return PlainPredictor(unet, source.config("scheduler"), runtime.device)
