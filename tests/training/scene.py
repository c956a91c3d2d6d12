"""A clip with known disparity."""

import torch
from torch.nn import functional as F


def scene(frames=5, height=48, width=96):
    """Return a texture and the disparity of a near box that moves over it."""
    noise = torch.rand(1, 3, 12, 24, generator=torch.Generator().manual_seed(1))
    still = F.interpolate(noise, (height, width), mode="bicubic").clamp(0, 1)
    video, disparity = still.repeat(frames, 1, 1, 1), torch.zeros(frames, 1, height, width)
    for t in range(frames):
        video[t, :, 14:34, 20 + 2 * t : 44 + 2 * t] = 0.9
        disparity[t, :, 14:34, 20 + 2 * t : 44 + 2 * t] = 6.0
    return video, disparity
