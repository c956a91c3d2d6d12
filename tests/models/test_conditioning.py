import pytest
import torch

from dreamstereo_core.models.conditioning import inpainting_input, missing_channels, to_latent_mask


def test_each_channel_is_one_frame_of_the_latent():
    mask = torch.zeros(1, 1, 9, 16, 24)
    mask[0, 0, 6, 3, 17] = 0.2  # the second frame of the third latent, one pixel, soft
    missing = missing_channels(mask)
    assert missing.shape == (1, 4, 3, 2, 3)
    assert missing.nonzero().tolist() == [[0, 1, 2, 0, 2]]
    assert missing.max() == 1


def test_the_first_frame_fills_the_four_channels_of_the_first_latent():
    mask = torch.zeros(2, 1, 5, 16, 16)
    mask[1, 0, 0, 15, 0] = 1
    assert missing_channels(mask).nonzero().tolist() == [[1, c, 0, 1, 0] for c in range(4)]


def test_the_latent_mask_is_the_maximum_over_its_frames():
    mask = torch.zeros(1, 1, 5, 16, 16)
    mask[0, 0, 3, 0, 0] = 1
    latent_mask = to_latent_mask(missing_channels(mask))
    assert latent_mask.shape == (1, 1, 2, 2, 2)
    assert latent_mask.nonzero().tolist() == [[0, 0, 1, 0, 0]]


def test_the_model_is_told_what_is_known():
    noisy, masked = torch.rand(2, 16, 2, 4, 4), torch.rand(2, 16, 2, 4, 4)
    missing = (torch.rand(2, 4, 2, 4, 4) > 0.5).float()
    channels = inpainting_input(noisy, missing, masked)
    assert torch.equal(channels[:, :16], noisy)
    assert torch.equal(channels[:, 16:20], 1 - missing)
    assert torch.equal(channels[:, 20:], masked)


def test_a_latent_mask_counts_for_all_four_frames():
    noisy = torch.rand(2, 16, 2, 4, 4)
    mask = (torch.rand(1, 1, 2, 4, 4) > 0.5).float()
    channels = inpainting_input(noisy, mask, noisy)
    assert torch.equal(channels[:, 16:20], (1 - mask).expand(2, 4, -1, -1, -1))


@pytest.mark.parametrize(
    "shape", [(1, 1, 4, 16, 16), (1, 2, 5, 16, 16), (1, 1, 5, 12, 16), (5, 1, 16, 16)]
)
def test_a_mask_of_another_shape_is_named(shape):
    with pytest.raises(ValueError, match=r"occlusion_mask: expected .* got \["):
        missing_channels(torch.zeros(shape))


def test_a_mask_of_another_size_is_named():
    noisy = torch.rand(1, 16, 2, 4, 4)
    with pytest.raises(ValueError, match=r"inpainting_input: .*\[1, 4, 2, 4, 6\]"):
        inpainting_input(noisy, torch.zeros(1, 4, 2, 4, 6), noisy)
    with pytest.raises(ValueError, match="inpainting_input"):
        inpainting_input(noisy, torch.zeros(1, 4, 2, 4, 4), noisy[:, :, :1])
