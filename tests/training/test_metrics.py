"""The measures against values computed by hand and against published implementations."""

import math

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dreamstereo_core import blend
from evaluation import metrics


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 3, 30, 41, generator=generator)
    video = (truth + 0.1 * torch.randn(truth.shape, generator=generator)).clamp(0, 1)
    return video, truth


def block(height, width, top, left, size=8, frames=1):
    mask = torch.zeros(frames, 1, height, width)
    mask[..., top : top + size, left : left + size] = 1
    return mask


def images(video):
    return video.permute(0, 2, 3, 1).numpy()


def test_psnr_counts_the_region_only():
    truth = torch.zeros(1, 3, 2, 2)
    video = truth.clone()
    video[..., 0, 0] = 0.1
    video[..., 1, 1] = 0.9
    region = torch.tensor([[1.0, 1], [0, 0]]).view(1, 1, 2, 2)
    # One pixel is off by 0.1, one is right: a mean square of 0.005.
    assert metrics.psnr(video, truth, region) == pytest.approx(-10 * math.log10(0.005))
    assert metrics.psnr(truth, truth) == math.inf
    assert math.isnan(metrics.psnr(video, truth, region * 0))


def test_psnr_equals_scikit_image(pair):
    video, truth = pair
    expected = peak_signal_noise_ratio(truth.numpy(), video.numpy(), data_range=1)
    assert metrics.psnr(video, truth) == pytest.approx(expected, abs=1e-4)


def test_ssim_equals_scikit_image(pair):
    similarity = metrics.ssim_map(*pair)
    means = []
    for frame, made, truth in zip(similarity, *map(images, pair), strict=True):
        mean, theirs = structural_similarity(
            truth,
            made,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            full=True,
        )
        assert np.abs(theirs.mean(2) - frame[0].numpy()).max() < 1e-5
        means.append(mean)
    assert metrics.ssim(similarity) == pytest.approx(np.mean(means), abs=1e-5)
    assert 0.3 < np.mean(means) < 0.98
    region = block(30, 41, 0, 0, frames=2)
    assert metrics.ssim(similarity, region) == pytest.approx(float(similarity[..., :8, :8].mean()))


def test_the_ring_is_known_and_of_its_width():
    mask = torch.zeros(1, 1, 60, 60)
    mask[..., 30, 20] = 1
    ring = metrics.ring(mask)
    assert ring.sum() == 33**2 - 1
    assert ring[0, 0, 30, 20] == 0 and ring[0, 0, 14, 36] == 1 and ring[0, 0, 13, 20] == 0


def test_siou_weighs_edges_and_moved_pixels():
    left = torch.zeros(1, 3, 40, 80)
    level = 20 / 255  # too faint for an edge: both edge maps are empty, an overlap of 1
    truth, made = left + block(40, 80, 8, 20) * level, left + block(40, 80, 8, 24) * level
    # Half of each 8 x 8 block is covered: 4 of 12 columns.
    assert metrics.siou(made, truth, left) == pytest.approx(0.75 + 0.25 / 3)
    assert metrics.siou(truth, truth, left) == 1
    bright = [left + block(40, 80, 8, x) for x in (20, 40)]
    assert metrics.siou(*bright, left) == 0  # neither edges nor pixels in common


def test_siou_takes_absolute_differences():
    left = torch.full((1, 3, 40, 80), 100 / 255)
    darker = left - 3 / 255  # in 8 bits without care: 253
    assert metrics.siou(darker, left, left) == 1


def standing(frames=2):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, 32, 48, generator=generator).repeat(frames, 1, 1, 1)


def test_temporal_error_counts_changes_of_a_standing_scene():
    truth = standing()
    flow = metrics.motion(truth)
    assert flow.shape == (1, 2, 32, 48) and not flow.any()
    mask = block(32, 48, 8, 8, frames=2)
    assert metrics.temporal_error(truth, flow, mask) == 0
    flicker = truth.clone()
    flicker[1] += 0.02 * mask[1]
    assert metrics.temporal_error(flicker, flow, mask) == pytest.approx(0.02 * 255, rel=1e-4)
    assert metrics.temporal_error(flicker, flow) == pytest.approx(5.1 * 64 / (32 * 48), rel=1e-4)
    assert math.isnan(metrics.temporal_error(truth[:1], metrics.motion(truth[:1])))


def test_temporal_error_follows_the_motion():
    truth = standing()
    truth[1] = truth[0].roll(3, dims=-1)
    flow = torch.zeros(1, 2, 32, 48)
    flow[:, 0] = 3
    mask = block(32, 48, 8, 8, size=16, frames=2)
    assert metrics.temporal_error(truth, flow, mask) == pytest.approx(0, abs=1e-3)
    assert metrics.temporal_error(truth[[0, 0]], flow, mask) > 20


def test_seam_energy_counts_the_steps_across_the_border():
    truth = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    mask = block(20, 30, 4, 5)
    assert metrics.seam_energy(truth + 0.1 * mask, truth, mask) == pytest.approx(25.5, rel=1e-5)
    assert metrics.seam_energy(truth + 0.1, truth, mask) == pytest.approx(0, abs=1e-4)
    inner = block(20, 30, 5, 6, size=6)  # off the border: no step across it
    assert metrics.seam_energy(truth + 0.1 * inner, truth, mask) == 0
    # Half of the border, of which 8 + 4 + 4 pixel pairs; the columns at the left are right.
    right = mask * (torch.arange(30) >= 9)
    video = truth + 0.1 * right
    assert metrics.seam_energy(video, truth, mask, right) == pytest.approx(25.5, rel=1e-5)
    assert metrics.seam_energy(video, truth, mask) == pytest.approx(12.75, rel=1e-5)
    assert math.isnan(metrics.seam_energy(truth, truth, mask * 0))


def test_known_exactness_counts_changed_pixels_outside_the_holes():
    warped = torch.rand(1, 3, 10, 10, generator=torch.Generator().manual_seed(0))
    mask = block(10, 10, 0, 0, size=5)  # 75 known pixels
    video = warped + 0.5 * mask
    assert metrics.known_exactness(video, warped, mask) == 1
    assert metrics.known_exactness(blend(video * 0.9, warped, mask), warped, mask) == 1
    video[0, 1, 9, 7:] = torch.nextafter(video[0, 1, 9, 7:], torch.tensor(2.0))
    assert metrics.known_exactness(video, warped, mask) == pytest.approx(72 / 75)


def test_color_drift_equals_scikit_image(pair):
    video, truth = pair
    region = block(30, 41, 4, 6, size=20, frames=2)
    here = region[:, 0].numpy() > 0
    made, real = (rgb2lab(images(x))[here] for x in pair)
    mean = np.linalg.norm(made.mean(0) - real.mean(0))
    spread = np.linalg.norm(made.std(0) - real.std(0))
    assert metrics.color_drift(video, truth, region) == pytest.approx((mean, spread), abs=0.02)
    assert mean > 0.1 and spread > 0.1
    assert metrics.color_drift(truth.flip(-1), truth, torch.ones_like(region)) == pytest.approx(
        (0, 0), abs=1e-4
    )
    assert all(math.isnan(x) for x in metrics.color_drift(video, truth, region * 0))
