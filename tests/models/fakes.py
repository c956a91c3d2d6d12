"""Clips, small networks, and networks whose answers are known."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from dreamstereo_core.models.conditioning import split_frames
from dreamstereo_core.models.config import INPAINTING_CHANNELS, TransformerConfig
from dreamstereo_core.models.vae.config import WanVAEConfig

TINY = TransformerConfig(
    in_dim=INPAINTING_CHANNELS,
    dim=48,
    ffn_dim=96,
    num_heads=2,
    num_layers=2,
    freq_dim=32,
    text_dim=24,
    text_len=8,
    learned_context=True,
)
SMALL_VAE = WanVAEConfig((4, 4, 8, 8), (1,) * 4, (1,) * 4)


def clip(frames, height=64, width=96, still=False):
    """A texture, standing or panning, with a hole that stays in place."""
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(1, 3, 8, 40, generator=generator)
    texture = F.interpolate(texture, (height, 4 * width), mode="bicubic").clamp(0, 1)
    step = 0 if still else 2
    video = torch.cat([texture[..., step * t : step * t + width] for t in range(frames)])
    mask = torch.zeros(frames, 1, height, width)
    mask[:, :, 20:44, 30:41] = 1
    return video, mask


class BlockVAE(nn.Module):
    """Means over 8x8 pixels of a latent's last frame, and back: nothing mixes over time."""

    device = torch.device("cpu")
    conditioned = False

    def encode(self, video, *, tile=None):
        return torch.cat([self.encode_chunk(g)[0] for g in split_frames(video)], 2)

    def encode_chunk(self, video, cache=None, *, last=False, tile=None):
        latent = F.avg_pool3d(video[:, :, -1:], (1, 8, 8))
        latent = torch.cat([latent, latent.new_zeros(len(latent), 13, *latent.shape[2:])], 1)
        return latent, "started"

    def decode_chunk(self, latent, cache=None, *, size=None, tile=None, regions=None):
        count = 4 if cache else 1
        video = F.interpolate(latent[:, :3], scale_factor=(count, 8, 8), mode="nearest")
        return video[..., : size[0], : size[1]], "started"


@dataclass
class Oracle:
    """Stands for a transformer whose answer, `inpainted(masked latents)`, is known."""

    inpainted: object
    calls: int = 0
    config = TINY

    def parameters(self):
        return iter([torch.zeros(1)])

    def default_context(self):
        return None

    def encode_context(self, context=None, image=None):
        return context

    def prepare(self, timestep, context=None):
        return None

    def __call__(self, x, conditioning, tokens=None):
        self.calls += 1
        self.tokens = tokens
        noisy, known, masked = x[:, :16], x[:, 16:20], x[:, 20:]
        return noisy - self.inpainted(masked, known, self.calls)
