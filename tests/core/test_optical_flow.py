"""Optical flow: known shifts, exact zero where nothing moves, brightness, guards."""

import math

import pytest
import torch

from dreamstereo_core.optical_flow import (
    bidirectional_flow,
    consistency,
    optical_flow,
    resize_flow,
    warp,
)


def texture(height: int, width: int, *, frames: int = 1, seed: int = 0) -> torch.Tensor:
    """Smooth random colour ``[frames, 3, height, width]``: structure from 6 px up."""
    generator = torch.Generator().manual_seed(seed)
    fine = torch.rand(frames, 3, height // 3 + 2, width // 3 + 2, generator=generator)
    coarse = torch.rand(frames, 3, height // 12 + 2, width // 12 + 2, generator=generator)
    size = (height, width)
    resized = [
        torch.nn.functional.interpolate(noise, size, mode="bicubic", align_corners=True)
        for noise in (fine, coarse)
    ]
    return ((resized[0] + resized[1]) / 2).clamp(0, 1)


def endpoint_error(flow: torch.Tensor, true: torch.Tensor, crop: int = 16) -> float:
    error = (flow - true).square().sum(1).sqrt()
    return error[:, crop:-crop, crop:-crop].mean().item()


def shifted_pair(dx: float, dy: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    b = texture(96, 160)
    true = torch.tensor([dx, dy]).view(1, 2, 1, 1).expand(1, 2, 96, 160)
    return warp(b, true), b, true


@pytest.mark.parametrize(("dx", "dy"), [(0.4, 0.0), (-3.0, 1.5), (7.5, -4.0)])
def test_finds_a_known_shift(dx, dy):
    a, b, true = shifted_pair(dx, dy)
    assert endpoint_error(optical_flow(a, b), true) < 0.1


def test_brightness_and_contrast_move_nothing():
    a, b, true = shifted_pair(2.0, 1.0)
    assert endpoint_error(optical_flow(a, 0.6 * b + 0.2), true) < 0.15


def test_a_moving_object_stands_out_from_a_still_background():
    background, thing = texture(96, 160), texture(32, 48, seed=1)
    a, b = background.clone(), background.clone()
    a[:, :, 30:62, 50:98] = thing
    b[:, :, 32:64, 55:103] = thing
    flow = optical_flow(a, b)
    inside = flow[:, :, 36:56, 58:90].mean(dim=(0, 2, 3))
    assert inside.tolist() == pytest.approx([5.0, 2.0], abs=0.4)
    assert flow[:, :, :, :24].abs().max() == 0
    assert flow[:, :, :, 130:].abs().max() == 0


def test_equal_frames_give_exactly_zero():
    frames = texture(90, 160, frames=2)
    assert torch.equal(optical_flow(frames, frames), torch.zeros(2, 2, 90, 160))


def test_sensor_noise_on_a_still_scene_gives_almost_nothing():
    still = texture(90, 160)
    noise = torch.randn(2, 3, 90, 160, generator=torch.Generator().manual_seed(3)) * 0.01
    flow = optical_flow(still + noise[:1], still + noise[1:])
    assert (flow == 0).float().mean() > 0.5
    assert flow.abs().mean() < 0.02


def test_the_result_does_not_depend_on_the_batch():
    a, b = texture(60, 100, frames=3), texture(60, 100, frames=3, seed=5)
    together = optical_flow(a, b)
    apart = torch.cat([optical_flow(a[i : i + 1], b[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, apart, atol=1e-4, rtol=1e-4)


def test_grid_and_pixels_follow_the_work_width():
    a, b, _ = shifted_pair(6.0, 0.0)
    flow = optical_flow(a, b, width=80)
    assert flow.shape == (1, 2, 48, 80)
    assert flow[:, 0, 10:-10, 10:-10].mean().item() == pytest.approx(3.0, abs=0.1)
    assert optical_flow(a[:, :1], b[:, :1], width=4096).shape == (1, 2, 96, 160)


def test_consistency_falls_where_a_thing_is_covered():
    background, thing = texture(96, 160), texture(40, 40, seed=1)
    a, b = background.clone(), background.clone()
    a[:, :, 30:70, 40:80] = thing
    b[:, :, 30:70, 45:85] = thing
    confidence = consistency(*bidirectional_flow(a, b))
    assert confidence.shape == (1, 1, 96, 160)
    assert confidence[..., 36:64, 46:74].mean() > 0.9
    assert confidence[..., 36:64, 81:84].mean() < 0.5  # background that the thing hides in b
    assert confidence[..., :20, :].min() > 0.9


def test_consistency_is_zero_where_the_flow_leaves_the_frame():
    forward = torch.full((1, 2, 8, 8), 3.0)
    confidence = consistency(forward, -forward)
    assert confidence[..., :5, :5].min() == 1
    assert confidence[..., 6:, :].max() == 0


def test_warp_is_exact_at_zero_and_linear_between_pixels():
    image = texture(7, 13)
    assert torch.equal(warp(image, torch.zeros(1, 2, 7, 13)), image)
    half = torch.tensor([0.5, 0.0]).view(1, 2, 1, 1).expand(1, 2, 7, 13)
    expected = (image[..., :-1] + image[..., 1:]) / 2
    torch.testing.assert_close(warp(image, half)[..., :-1], expected, atol=1e-5, rtol=0)


def test_resize_flow_scales_each_axis():
    flow = torch.ones(1, 2, 4, 8)
    resized = resize_flow(flow, (8, 32))
    assert resized.shape == (1, 2, 8, 32)
    assert (resized[:, 0].unique().item(), resized[:, 1].unique().item()) == (4.0, 2.0)
    assert resize_flow(flow, (4, 8)) is flow


@pytest.mark.parametrize("size", [(1, 1), (1, 64), (64, 1), (3, 200), (37, 53)])
def test_any_size(size):
    a = torch.rand(1, 3, *size)
    flow = optical_flow(a, torch.rand(1, 3, *size))
    assert flow.shape == (1, 2, *size)
    assert math.isfinite(flow.sum().item())


@pytest.mark.parametrize(
    ("a", "b", "width"),
    [
        (torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9), 256),
        (torch.rand(1, 2, 8, 8), torch.rand(1, 2, 8, 8), 256),
        (torch.rand(3, 8, 8), torch.rand(3, 8, 8), 256),
        (torch.rand(1, 3, 0, 8), torch.rand(1, 3, 0, 8), 256),
        (torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8), 4),
    ],
)
def test_rejects_what_is_no_pair_of_frames(a, b, width):
    with pytest.raises(ValueError, match="expected"):
        optical_flow(a, b, width=width)
