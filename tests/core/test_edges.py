"""A thin pole before a far background, from an estimator's depth to the other eye."""

import pytest
import torch
from torch.nn import functional as F

from dreamstereo_core import gapw_warp, inverse_depth_to_disparity
from dreamstereo_core.depth import upsample_inverse_depth

H, W, FOOT = 480, 854, 400
LOW = (216, 384)
ROWS = slice(20, 380)  # in which the pole is measured
CONVERGENCE, STRENGTH = 0.3, 3.0


def scene(width, lean):
    """A dark pole over textured ground: video, exact inverse depth and the pole's coverage."""
    y, x = torch.arange(H).view(-1, 1) + 0.5, torch.arange(W).view(1, -1) + 0.5
    generator = torch.Generator().manual_seed(0)
    texture = torch.full((1, 3, H, W), 0.5)
    for size, contrast in (((6, 11), 0.7), ((20, 36), 0.4)):
        noise = torch.rand(1, 3, *size, generator=generator) - 0.5
        texture += contrast * F.interpolate(noise, (H, W), mode="bicubic")
    across = x - (400 + lean * (y - H / 2))
    cover = (0.5 + width / 2 - across.abs()).clamp(0, 1)
    cover[FOOT:] = 0
    shade = 0.75 + 0.5 * (across / width).clamp(-0.5, 0.5)
    color = torch.tensor([0.15, 0.12, 0.1]).view(1, 3, 1, 1) * shade
    ground = 0.1 + 0.6 * ((y / H - 0.5) / 0.5).clamp(min=0)
    exact = torch.where(cover >= 0.5, 0.8, ground.expand(H, W))[None, None]
    return texture.clamp(0, 1) * (1 - cover) + color * cover, exact, cover


def estimated(exact, blur=0.5):
    """The exact depth as an estimator of low resolution gives it: averaged and soft."""
    low = F.interpolate(exact, LOW, mode="area")
    kernel = torch.exp(-torch.arange(-2.0, 3).square() / (2 * blur**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1) * (kernel / kernel.sum()).view(1, 1, -1, 1)
    return F.conv2d(F.pad(low, (2, 2, 2, 2), mode="replicate"), kernel)


def warped_pole(width, lean):
    """Return per row the warped pole's width, its way off a smooth line, and its hole pixels."""
    video, exact, cover = scene(width, lean)
    depth = upsample_inverse_depth(estimated(exact), video)
    disparity = inverse_depth_to_disparity(depth, max_disparity=STRENGTH, convergence=CONVERGENCE)
    warp = gapw_warp(video, disparity)
    at = warp.coord_map[0, 0].clamp(0, W - 1)
    left = at.floor().long()
    right = (left + 1).clamp(max=W - 1)
    shown = torch.lerp(cover.gather(1, left), cover.gather(1, right), at - left)[ROWS]
    x = torch.arange(W) - torch.arange(H).view(-1, 1)[ROWS] * lean
    widths = shown.sum(1)
    centers = (shown * x).sum(1) / widths
    line = F.avg_pool1d(F.pad(centers[None], (30, 30), mode="reflect"), 61, 1)[0]
    holes = ((shown > 0.5) & (warp.occlusion_mask[0, 0, ROWS] > 0)).sum(1)
    return widths, centers - line, holes.float()


@pytest.mark.parametrize(("width", "off"), [(3, 1.5), (4, 0.9), (6, 0.5)])
@pytest.mark.parametrize("lean", [0.0, 0.1])
def test_a_thin_pole_stays_straight_and_whole(width, off, lean):
    widths, deviation, holes = warped_pole(width, lean)
    assert deviation.std() < off * (1 if lean else 0.25)
    assert widths.mean().item() == pytest.approx(width, abs=0.4)
    assert (widths - width).abs().max() < 1.2
    assert holes.mean() < 0.01


def test_the_frames_borders_have_no_depth_of_their_own():
    """A plane that leaves the frame keeps its depth to the last column and row."""
    video, _, _ = scene(4, 0)
    low = torch.linspace(0.2, 0.5, LOW[0]).view(1, 1, -1, 1).expand(1, 1, *LOW)
    depth = upsample_inverse_depth(low, video)
    rows = F.interpolate(low, (H, W), mode="bilinear")
    assert (depth - rows)[:, :, 8:-8].abs().max() < 0.01
