"""taew2_1 frame by frame, from the published names: the same latents, the same frames."""

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from dreamstereo_core import load_vae

from .test_vae_checkpoint import taew_shapes

FRAMES = [1, 5, 9, 13]


class Slow:
    """The published network on lists of frames ``[1, C, H, W]``, one layer after the other."""

    def __init__(self, weights):
        self.weights = weights

    def encode(self, frames):
        """Group the frames by four from the first one on; repeat the last to fill up a group."""
        frames = frames + [frames[-1]] * (-len(frames) % 4)
        x = [F.relu(self.conv("encoder.0", frame)) for frame in frames]
        for start, stride in ((2, 2), (7, 2), (12, 1)):
            groups = [torch.cat(x[i : i + stride], 1) for i in range(0, len(x), stride)]
            x = [self.conv(f"encoder.{start}.conv", group) for group in groups]
            x = [self.conv(f"encoder.{start + 1}", frame, stride=2) for frame in x]
            for i in range(start + 2, start + 5):
                x = self.see_before(f"encoder.{i}", x)
        return [self.conv("encoder.17", frame) for frame in x]

    def decode(self, latents):
        """Make four frames of each latent and drop the first three of all."""
        x = [F.relu(self.conv("decoder.1", torch.tanh(z / 3) * 3)) for z in latents]
        for start, stride in ((3, 1), (9, 2), (15, 2)):
            for i in range(start, start + 3):
                x = self.see_before(f"decoder.{i}", x)
            x = [frame.repeat_interleave(2, 2).repeat_interleave(2, 3) for frame in x]
            grown = [self.conv(f"decoder.{start + 4}.conv", frame) for frame in x]
            x = [frame for group in grown for frame in group.chunk(stride, 1)]
            x = [self.conv(f"decoder.{start + 5}", frame) for frame in x]
        return [self.conv("decoder.22", F.relu(frame)).clamp(0, 1) for frame in x][3:]

    def see_before(self, name, frames):
        after, before = [], torch.zeros_like(frames[0])
        for frame in frames:
            x = F.relu(self.conv(f"{name}.conv.0", torch.cat((frame, before), 1)))
            x = F.relu(self.conv(f"{name}.conv.2", x))
            after.append(F.relu(self.conv(f"{name}.conv.4", x) + frame))
            before = frame
        return after

    def conv(self, name, x, stride=1):
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        return F.conv2d(x, weight, bias, stride, padding=weight.shape[-1] // 2)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in taew_shapes().items():
        scale = 0.1 if len(shape) == 1 else (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        weights[name] = torch.randn(shape, generator=generator) * scale
    for name in weights:  # the memory blocks' residuals would grow from one to the next
        if name.endswith("conv.4.weight"):
            weights[name] *= 0.3
    path = tmp_path_factory.mktemp("vae") / "taew2_1.safetensors"
    save_file(weights, path)
    return load_vae(path, device="cpu"), Slow(weights)


@pytest.fixture(scope="module")
def video():
    return torch.rand(1, 3, 13, 16, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize("frames", FRAMES)
def test_frames_and_latents_are_those_of_the_published_network(both, video, frames, tile):
    vae, slow = both
    clip = video[:, :, :frames]
    latent = torch.stack(slow.encode(list(clip.unbind(2))), 2)
    assert latent.shape[2] == 1 + (frames - 1) // 4
    assert latent.std() > 0.3
    torch.testing.assert_close(vae.encode(clip, tile=tile), latent, rtol=1e-4, atol=1e-4)
    made = torch.stack(slow.decode(list(latent.unbind(2))), 2)
    assert made.shape == clip.shape
    assert made.std() > 0.1
    torch.testing.assert_close(vae.decode(latent, tile=tile), made, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frames", [2, 3, 4, 6, 7, 8])
def test_between_4n_and_1_the_published_latents_come_first(both, video, frames):
    """The published code gives fewer frames back than it took; one more latent holds them."""
    vae, slow = both
    published = torch.stack(slow.encode(list(video[:, :, :frames].unbind(2))), 2)
    latent = vae.encode(video[:, :, :frames])
    count = published.shape[2]
    torch.testing.assert_close(latent[:, :, :count], published, rtol=1e-4, atol=1e-4)
    assert 4 * count - 3 < frames <= vae.decode(latent).shape[2]


@pytest.mark.parametrize("k", [0, 1, 2])
def test_which_frames_a_latent_stands_for(both, video, k):
    """The decoder makes frames 4k - 3 to 4k of latent k; the encoder reads up to 4k + 3 for it."""
    vae, _ = both
    latent = vae.encode(video)
    changed = latent.clone()
    changed[:, :, k] += 1
    before, after = vae.decode(latent), vae.decode(changed)
    first = max(0, 4 * k - 3)
    assert torch.equal(after[:, :, :first], before[:, :, :first])
    assert (after - before)[:, :, first : 4 * k + 1].abs().amax((0, 1, 3, 4)).min() > 0.01

    for frame, seen in ((4 * k + 3, True), (4 * k + 4, False)):
        other = video.clone()
        other[:, :, frame] = 1 - other[:, :, frame]
        assert torch.equal(vae.encode(other)[:, :, k], latent[:, :, k]) != seen
