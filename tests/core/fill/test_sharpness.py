"""Fills as sharp as their surroundings."""

from itertools import pairwise

import torch
from torch.nn import functional as F

from dreamstereo_core.fill.sharpness import POWER, TOLERANCE, match_sharpness


def scene(known, filled, height=101, width=150, frames=2, hole=slice(60, 90)):
    """Textures of which `known` and `filled` say how soft they are, and a band that is filled."""
    generator = torch.Generator().manual_seed(0)
    layers = []
    for softness in (known, filled):
        size = (frames, 3, height // softness + 1, width // softness + 1)
        noise = torch.rand(size, generator=generator)
        layers.append(F.interpolate(noise, (height, width), mode="bicubic").clamp(0, 1))
    mask = torch.zeros(frames, 1, height, width)
    mask[..., hole] = 1
    return torch.where(mask > 0, layers[1], layers[0]), mask


def grain(video):
    return (video[..., 63:87] - video[..., 62:86]).abs().mean()


def test_grain_in_a_fill_on_soft_footage_goes():
    video, mask = scene(known=6, filled=1)
    matched = match_sharpness(video, mask)
    assert grain(matched) < 0.2 * grain(video)
    # What is left of the fill is its larger forms: its mean stays.
    assert torch.allclose(matched.mean(), video.mean(), atol=0.01)


def test_a_fill_that_is_softer_than_its_surroundings_stays_as_it_is():
    video, mask = scene(known=1, filled=6)
    matched = match_sharpness(video, mask)
    assert torch.allclose(matched, video, atol=1e-5)


def test_a_hard_border_stays_hard_in_sharp_footage_and_is_softened_in_soft():
    for softness in (1, 4):
        video = torch.zeros(1, 3, 96, 160)
        video[..., 40:80] = 1.0  # something near, its right border beside the hole
        ramp = torch.arange(160).clamp(40 - softness, 40 + softness).sub(40) / (2 * softness) + 0.5
        if softness > 1:
            video[..., :60] = ramp[:60]
        mask = torch.zeros(1, 1, 96, 160)
        mask[..., 80:100] = 1
        bled = match_sharpness(video, mask)[..., 80].mean()
        assert bled < 0.02 if softness == 1 else bled > 0.1


def test_known_pixels_are_the_videos_own_to_the_bit():
    video, mask = scene(known=6, filled=1)
    matched = match_sharpness(video, mask)
    assert torch.equal(matched * (1 - mask), video * (1 - mask))
    assert torch.equal(match_sharpness(video, mask * 0), video)


def test_frames_do_not_look_at_each_other():
    video, mask = scene(known=4, filled=1, frames=3)
    whole = match_sharpness(video, mask)
    for t in range(3):
        alone = match_sharpness(video[t : t + 1], mask[t : t + 1])
        assert torch.allclose(whole[t : t + 1], alone, atol=1e-6)


def test_fine_bands_are_scaled_by_how_much_too_sharp_they_are():
    video, mask = scene(known=4, filled=1, height=16, width=16, hole=slice(8, 16))  # one cell

    def blurred(x, sigma, radius):
        taps = torch.exp(-torch.arange(-radius, radius + 1.0).square() / (2 * sigma**2))
        kernel = torch.outer(taps, taps) / taps.sum() ** 2
        x = F.pad(x, (radius,) * 4, mode="replicate")
        return F.conv2d(x, kernel.expand(3, 1, *kernel.shape), groups=3)

    levels = [video]
    for sigma, radius in ((1.0, 3), (1.5, 4), (3.0, 8)):
        levels.append(blurred(levels[-1], sigma, radius))
    bands = [a - b for a, b in pairwise(levels)]
    known, own = (
        [(band.abs() * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)) for band in bands]
        for weight in (1 - mask, mask)
    )
    expected = levels[2]
    for i in (0, 1):
        ratio = (known[i] / known[2]) / (own[i] / own[2])
        expected = expected + bands[i] * (TOLERANCE * ratio).clamp(max=1).view(-1, 1, 1, 1) ** POWER
    matched = match_sharpness(video, mask)
    assert torch.allclose(matched, torch.where(mask > 0, expected, video), atol=1e-5)
    assert not torch.allclose(matched, video, atol=0.05)
