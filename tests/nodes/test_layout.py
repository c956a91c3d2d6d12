import pytest
import torch


@pytest.fixture
def layout(node_module):
    return node_module("layout")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_of_any_channels_become_rgb(layout, channels):
    images = torch.rand(2, 5, 7, channels)
    video = layout.to_video(images)
    assert video.shape == (2, 3, 5, 7)
    expected = images[..., :3] if channels > 1 else images.expand(-1, -1, -1, 3)
    assert torch.equal(video.movedim(1, -1), expected)


def test_rgb_there_and_back_is_exact(layout):
    images = torch.rand(2, 5, 7, 3)
    assert torch.equal(layout.from_video(layout.to_video(images)), images)


@pytest.mark.parametrize("shape", [(5, 7, 3), (2, 5, 7, 2), (0, 5, 7, 3)])
def test_what_is_no_image_is_refused(layout, shape):
    with pytest.raises(ValueError, match="images: expected an IMAGE"):
        layout.to_video(torch.zeros(shape))


def test_grey_pictures_are_inverse_depth(layout):
    inverse_depth = torch.rand(2, 1, 5, 7)
    images = layout.from_inverse_depth(inverse_depth)
    assert images.shape == (2, 5, 7, 3)
    torch.testing.assert_close(layout.to_inverse_depth(images), inverse_depth)


def test_coloured_depth_is_refused(layout):
    images = torch.zeros(1, 4, 4, 3)
    images[..., 0] = 1
    with pytest.raises(ValueError, match="expected a grey depth picture"):
        layout.to_inverse_depth(images)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_depth_that_is_no_number_is_refused(layout, value):
    images = torch.full((1, 4, 4, 3), 0.5)
    images[0, 1, 2] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        layout.to_inverse_depth(images)


@pytest.mark.parametrize("shape", [(3, 5, 7), (5, 7)])
def test_masks_there_and_back(layout, shape):
    mask = torch.rand(shape)
    occlusion_mask = layout.to_occlusion_mask(mask)
    assert occlusion_mask.shape == (mask.reshape(-1, 5, 7).shape[0], 1, 5, 7)
    assert torch.equal(layout.from_occlusion_mask(occlusion_mask), mask.reshape(-1, 5, 7))


def test_what_is_no_mask_is_refused(layout):
    with pytest.raises(ValueError, match="mask: expected a MASK"):
        layout.to_occlusion_mask(torch.zeros(1, 1, 5, 7))
