"""Inpaint Conditioning (Wan) with ComfyUI's own Wan VAE, model and sampler."""

import importlib

import pytest
import torch

from . import wan


@pytest.fixture(scope="module")
def vae(pack, tmp_path_factory):
    path = wan.write_vae(tmp_path_factory.mktemp("vae") / "vae.safetensors")
    tensors = importlib.import_module("comfy.utils").load_torch_file(path)
    return importlib.import_module("comfy.sd").VAE(sd=tensors)


@pytest.fixture
def condition(node_module, vae):
    node = node_module("inpaint_conditioning").InpaintConditioning
    _, _, text = wan.clip_inputs()

    def condition(images, mask, narrow=1):
        return node.execute([[text[:1], {}]], [[text[1:], {}]], vae, images, mask, narrow).args

    return condition


def test_the_masked_video_and_its_mask(condition, vae):
    images, mask = torch.rand(9, 48, 64, 3), wan.hole_mask()
    positive, negative, latent = condition(images, mask)
    assert latent["samples"].shape == (1, 16, 3, 6, 8)
    values = positive[0][1]
    masked = torch.where(mask[..., None] > 0, 0.5, images)
    torch.testing.assert_close(values["concat_latent_image"], vae.encode(masked))
    assert values["concat_mask"].shape == (1, 4, 3, 6, 8)
    assert values["concat_mask"][0, :, 0, 2, 0].tolist() == [1, 1, 1, 1]
    assert values["concat_mask"][0, :, 2, 5, 7].tolist() == [0, 0, 0, 1]
    assert values["concat_mask"].sum() == 4 + 2
    assert negative[0][1].keys() == values.keys()


def test_the_model_sees_what_our_own_transformer_sees(condition, vae, tmp_path):
    """The one flip to Wan's "1 = known" is ComfyUI's here and inpainting_input's there."""
    path = wan.write_checkpoint(tmp_path / "wan.safetensors", wan.make_transformer())
    model = importlib.import_module("comfy.sd").load_diffusion_model(path).model
    positive, _, _ = condition(torch.rand(9, 48, 64, 3), wan.hole_mask())
    values, noise = positive[0][1], torch.randn(1, 16, 3, 6, 8)
    given = model.concat_cond(noise=noise, device=noise.device, **values)
    expected = wan.core("models.conditioning").inpainting_input(
        noise, values["concat_mask"], model.process_latent_in(values["concat_latent_image"])
    )
    torch.testing.assert_close(torch.cat([noise, given], 1), expected)


def test_a_whole_graph(condition, vae, node_module, tmp_path):
    """Conditioning, Sparse Tokens, KSampler, VAE Decode: far from the hole nothing changes."""
    path = wan.write_checkpoint(tmp_path / "wan.safetensors", wan.make_transformer())
    model = importlib.import_module("comfy.sd").load_diffusion_model(path)
    images, mask = torch.rand(9, 48, 96, 3), torch.zeros(9, 48, 96)
    mask[:, 4:12, 4:12] = 1
    positive, negative, latent = condition(images, mask)
    sparse = node_module("sparse_patch").SparseTokens.execute(model, mask, 1, 0, 1).args[0]
    made = importlib.import_module("comfy.sample").sample(
        sparse,
        torch.randn(latent["samples"].shape),
        2,
        3.0,
        "euler",
        "simple",
        positive,
        negative,
        latent["samples"],
        disable_pbar=True,
    )
    known = positive[0][1]["concat_latent_image"]
    torch.testing.assert_close(made[..., 2:], known[..., 2:], rtol=1e-5, atol=1e-5)
    assert (made[..., :2, :2] - known[..., :2, :2]).abs().max() > 0.1
    assert vae.decode(made).shape == (1, 9, 48, 96, 3)


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (2, 2), (5, 2), (6, 3)])
def test_clips_are_filled_up_with_their_last_frame(condition, frames, latents):
    images, mask = torch.rand(frames, 16, 16, 3), torch.zeros(frames, 16, 16)
    mask[-1] = 1
    positive, _, latent = condition(images, mask)
    assert latent["samples"].shape[2] == latents
    assert positive[0][1]["concat_latent_image"].shape == latent["samples"].shape
    filling = (1 - frames) % 4
    last = positive[0][1]["concat_mask"][0, :, -1, 0, 0].tolist()
    assert last == [0] * (3 - filling) + [1] * (1 + filling) if frames > 1 else [1] * 4


def test_one_mask_for_all_frames(condition):
    positive, _, _ = condition(torch.rand(5, 16, 16, 3), torch.ones(16, 16))
    assert positive[0][1]["concat_mask"].all()


def test_any_size_goes_through_the_whole_graph(condition, vae, node_module):
    """6 frames of 20 x 36 become 9 of 32 x 48 and come back."""
    images, mask = torch.rand(6, 20, 36, 3), torch.zeros(6, 20, 36)
    mask[:, :, 30:] = 1
    positive, _, latent = condition(images, mask)
    assert latent["samples"].shape == (1, 16, 3, 4, 6)
    assert positive[0][1]["concat_mask"][0, 0, 2].tolist() == [[0, 0, 0, 1, 1, 1]] * 4
    decoded = vae.decode(latent["samples"])[0]
    assert decoded.shape == (9, 32, 48, 3)
    (blended,) = node_module("blend").Blend.execute(decoded, images, mask, 0).args
    assert torch.equal(blended[:, :, :30], images[:, :, :30])
    torch.testing.assert_close(blended[:, :, 30:], decoded[:6, :20, 30:36])


def test_narrow_holes_are_filled_from_beside_and_known(condition, vae):
    images = torch.linspace(0, 1, 48).view(1, 1, -1, 1).expand(5, 32, 48, 3)
    mask = torch.zeros(5, 32, 48)
    mask[:, :, 20:23] = 1
    broken = torch.where(mask[..., None] > 0, 9.0, images)
    positive, _, _ = condition(broken, mask, narrow=4)
    assert not positive[0][1]["concat_mask"].any()
    torch.testing.assert_close(
        positive[0][1]["concat_latent_image"], vae.encode(images), atol=0.05, rtol=0
    )
    positive, _, _ = condition(broken, mask, narrow=3)
    assert positive[0][1]["concat_mask"].any()


class TestErrors:
    def test_a_mask_of_another_clip(self, condition):
        with pytest.raises(ValueError, match="mask: expected shape"):
            condition(torch.rand(5, 16, 16, 3), torch.ones(4, 16, 16))
