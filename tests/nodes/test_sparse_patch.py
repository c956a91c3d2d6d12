"""Sparse Tokens (Wan) on ComfyUI's own Wan model, loaded as a user loads it."""

import importlib
from types import SimpleNamespace

import pytest
import torch

from . import wan

EXACT = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def checkpoint(pack, tmp_path_factory):
    """Our weights in a file that looks like Fun-InP without its image branch."""
    path = tmp_path_factory.mktemp("models") / "wan.safetensors"
    return wan.write_checkpoint(path, wan.make_transformer())


@pytest.fixture
def load(pack):
    return importlib.import_module("comfy.sd").load_diffusion_model


@pytest.fixture
def native(load, checkpoint):
    return load(checkpoint)


@pytest.fixture
def patch(node_module):
    def patch(model, mask, dilation=1, temporal_stride=0, narrow=1):
        node = node_module("sparse_patch").SparseTokens
        return node.execute(model, mask, dilation, temporal_stride, narrow).args[0]

    return patch


def sample(model, *, batch=1, cfg=1.0, steps=2, known=True, noise_mask=None, image=None):
    """Run ComfyUI's sampler; two steps of Euler."""
    noise, latents, text = wan.clip_inputs(batch)
    values = {}
    if known:
        values = {"concat_latent_image": latents, "concat_mask": torch.ones(1, 4, *wan.CLIP)}
    if image is not None:
        values["clip_vision_output"] = SimpleNamespace(penultimate_hidden_states=image)
    positive, negative = ([[text[i : i + 1], values]] for i in range(2))
    start = torch.zeros_like(noise) if known else latents.repeat(batch, 1, 1, 1, 1)
    return importlib.import_module("comfy.sample").sample(
        model,
        noise,
        steps,
        cfg,
        "euler",
        "simple",
        positive,
        negative,
        start,
        noise_mask=noise_mask,
        disable_pbar=True,
        seed=0,
    )


def kept_latents(mask, dilation=1):
    """Where tokens are kept, `[1, 1, T', H', W']` bool, by the core's own functions."""
    conditioning, sparse = wan.core("models.conditioning"), wan.core("models.sparse")
    missing = conditioning.missing_channels(mask[None, None])
    tokens = sparse.select_tokens(conditioning.to_latent_mask(missing), dilation=dilation)
    return tokens, sparse.token_mask(tokens, torch.Size((1, 1, *wan.CLIP)))


class TestDense:
    """With a mask that covers everything the patch changes nothing."""

    @pytest.mark.parametrize("cfg", [1.0, 3.0])
    @pytest.mark.parametrize("batch", [1, 2])
    def test_all_tokens_equal_the_unpatched_model(self, native, patch, cfg, batch):
        expected = sample(native, cfg=cfg, batch=batch)
        made = sample(patch(native, torch.ones(9, 48, 64)), cfg=cfg, batch=batch)
        torch.testing.assert_close(made, expected, **EXACT)

    def test_sizes_that_are_no_whole_tokens(self, native, patch, monkeypatch):
        monkeypatch.setattr(wan, "CLIP", (2, 5, 7))
        expected = sample(native)
        made = sample(patch(native, torch.ones(5, 40, 56)))
        assert made.shape == (1, 16, 2, 5, 7)
        torch.testing.assert_close(made, expected, **EXACT)

    def test_the_original_stays_as_it_is(self, native, patch):
        before = sample(native)
        patched = patch(native, wan.hole_mask())
        assert not torch.allclose(sample(patched), before)
        assert torch.equal(sample(native), before)

    def test_a_lora_still_applies(self, native, patch, tmp_path):
        lora = importlib.import_module("comfy.utils").load_torch_file(
            wan.write_lora(tmp_path / "lora.safetensors")
        )
        sd = importlib.import_module("comfy.sd")
        with_lora, _ = sd.load_lora_for_models(native, None, lora, 1.0, 0.0)
        expected = sample(with_lora)
        after = sample(patch(with_lora, torch.ones(9, 48, 64)))
        torch.testing.assert_close(after, expected, **EXACT)
        full = patch(native, torch.ones(9, 48, 64))
        lora_behind, _ = sd.load_lora_for_models(full, None, lora, 1.0, 0.0)
        torch.testing.assert_close(sample(lora_behind), expected, **EXACT)
        assert (expected - sample(native)).abs().max() > 0.01

    def test_fp8_weights_still_apply(self, load, patch, tmp_path):
        """As Load Diffusion Model does with weight_dtype fp8_e4m3fn."""
        ours = wan.make_transformer()
        path = wan.write_checkpoint(tmp_path / "fp8.safetensors", ours, torch.float8_e4m3fn)
        native = load(path, model_options={"dtype": torch.float8_e4m3fn})
        weight = native.model.diffusion_model.blocks[0].ffn[0].weight
        assert weight.dtype == torch.float8_e4m3fn
        expected = sample(native)
        made = sample(patch(native, torch.ones(9, 48, 64)))
        # Computed in bfloat16, whose sums depend on how a matrix is cut up.
        assert (made - expected).abs().max() < 0.02 * expected.abs().max()


class TestSparse:
    @pytest.mark.parametrize("image_dim", [None, 1280])
    def test_kept_tokens_equal_our_own_transformer(self, load, patch, tmp_path, image_dim):
        """One step from sigma 1: x - v; without and with Fun-InP's image branch."""
        ours = wan.make_transformer(image_dim=image_dim)
        native = load(wan.write_checkpoint(tmp_path / "wan.safetensors", ours))
        assert (native.model.diffusion_model.img_emb is None) == (image_dim is None)
        tokens, kept = kept_latents(wan.hole_mask())
        assert 0 < tokens.shape[1] < 10
        noise, known, text = wan.clip_inputs()
        image = None if image_dim is None else torch.randn(1, 257, image_dim)
        made = sample(patch(native, wan.hole_mask()), steps=1, image=image)

        inside = native.model.process_latent_in(known)
        stacked = wan.core("models.conditioning").inpainting_input(
            noise, torch.ones(1, 4, *wan.CLIP), inside
        )
        velocity = ours(stacked, ours.prepare(torch.ones(1), text[:1], image=image), tokens)
        expected = torch.where(kept, noise - velocity, inside)
        made = native.model.process_latent_in(made)
        assert (made - expected).abs().max() < 1e-5 * expected.abs().max()

    @pytest.mark.parametrize("cfg", [1.0, 3.0])
    @pytest.mark.parametrize("batch", [1, 2])
    def test_dropped_tokens_end_as_the_known_latents(self, native, patch, cfg, batch):
        _, kept = kept_latents(wan.hole_mask(), dilation=3)
        _, known, _ = wan.clip_inputs()
        made = sample(patch(native, wan.hole_mask(), 3), cfg=cfg, batch=batch)
        dropped = ~kept.expand_as(made)
        expected = known.expand_as(made)
        torch.testing.assert_close(made[dropped], expected[dropped], **EXACT)
        assert (made - expected).abs().amax((1, 3, 4))[:, [0, 2]].min() > 0.1

    def test_an_empty_mask_never_runs_the_model(self, native, patch, monkeypatch):
        model = native.model.diffusion_model
        monkeypatch.setattr(model, "forward_orig", lambda *a, **k: pytest.fail("the model ran"))
        narrow = torch.zeros(9, 48, 64)
        narrow[:, :, 10:13] = 1
        for patched in (patch(native, torch.zeros(9, 48, 64)), patch(native, narrow, narrow=4)):
            torch.testing.assert_close(sample(patched), wan.clip_inputs()[1], **EXACT)

    def test_the_model_sees_only_the_kept_tokens(self, native, patch, monkeypatch):
        model, lengths = native.model.diffusion_model, []
        forward = model.blocks[0].forward

        def count(x, *args, **kwargs):
            lengths.append(x.shape[1])
            return forward(x, *args, **kwargs)

        monkeypatch.setattr(model.blocks[0], "forward", count)
        sample(patch(native, wan.hole_mask()), cfg=3.0, steps=1)
        assert set(lengths) == {kept_latents(wan.hole_mask())[0].shape[1]}

    def test_every_nth_latent_frame_whole(self, native, patch):
        _, known, _ = wan.clip_inputs()
        made = sample(patch(native, wan.hole_mask(), 1, 2))
        untouched = torch.isclose(made, known, **EXACT).all(1)
        assert [bool(untouched[:, t].any()) for t in range(3)] == [False, True, True]

    def test_other_wrappers_stay_in_the_chain(self, native, patch):
        extension = importlib.import_module("comfy.patcher_extension")
        kind, shapes = extension.WrappersMP.DIFFUSION_MODEL, []

        def spy(executor, x, *args, **kwargs):
            shapes.append(x.shape)
            return executor(x, *args, **kwargs) * 0.5

        expected = sample(patch(native, wan.hole_mask()))
        before, behind = native.clone(), patch(native, wan.hole_mask())
        before.add_wrapper_with_key(kind, "spy", spy)
        behind.add_wrapper_with_key(kind, "spy", spy)
        first, second = sample(patch(before, wan.hole_mask())), sample(behind)
        torch.testing.assert_close(first, second, **EXACT)
        assert not torch.allclose(first, expected)
        assert set(shapes) == {(1, 36, *wan.CLIP)}

    def test_a_second_patch_replaces_the_first(self, native, patch):
        twice = patch(patch(native, torch.zeros(9, 48, 64)), wan.hole_mask())
        assert torch.equal(sample(twice), sample(patch(native, wan.hole_mask())))

    def test_a_text_to_video_model_with_a_noise_mask(self, load, patch, tmp_path):
        path = wan.write_checkpoint(tmp_path / "t2v.safetensors", wan.make_transformer(16))
        _, known, _ = wan.clip_inputs()
        holes = wan.hole_mask()[[0, 4, 8]].unsqueeze(1)
        made = sample(patch(load(path), wan.hole_mask()), known=False, noise_mask=holes)
        _, kept = kept_latents(wan.hole_mask())
        dropped = ~kept.expand_as(made)
        torch.testing.assert_close(made[dropped], known[dropped], **EXACT)
        assert (made - known).abs().max() > 0.1


class TestMask:
    @pytest.fixture
    def to_latents(self, node_module):
        return node_module("sparse_patch").to_latents

    @pytest.mark.parametrize("frames", [1, 6, 9, 12])
    def test_clips_of_any_length(self, to_latents, frames):
        mask = torch.zeros(frames, 1, 48, 64)
        mask[-1, :, 0, 0] = 1
        holes = to_latents(mask, 3, 6, 8)
        assert holes.shape == (1, 1, 3, 6, 8)
        # Frames past 4n + 1 are cut, missing ones repeat the last.
        assert (
            holes[0, 0, :, 0, 0].tolist()
            == {
                1: [1, 1, 1],
                6: [0, 0, 1],
                9: [0, 0, 1],
                12: [0, 0, 0],
            }[frames]
        )

    @pytest.mark.parametrize("factor", [0.5, 1, 1.5, 3])
    def test_masks_of_another_size_lose_no_hole(self, to_latents, factor):
        height, width = round(48 * factor), round(64 * factor)
        mask = torch.zeros(9, 1, height, width)
        mask[0, 0, height // 2, width // 2] = 1
        holes = to_latents(mask, 3, 6, 8)[0, 0, 0]
        assert holes[3, 4] == 1
        assert holes.sum() <= 4

    def test_a_mask_is_filled_up_as_its_video_was(self, to_latents):
        mask = torch.zeros(9, 1, 40, 50)
        mask[0, :, 39, 49] = 1
        holes = to_latents(mask, 3, 6, 8)[0, 0, 0]
        assert holes.nonzero().tolist() == [[4, 6], [4, 7], [5, 6], [5, 7]]

    def test_odd_latents_grow_to_whole_tokens(self, to_latents):
        assert to_latents(torch.ones(1, 1, 40, 56), 2, 5, 7).shape == (1, 1, 2, 6, 8)

    def test_a_context_window_takes_its_own_frames(self, node_module):
        patch = node_module("sparse_patch").SparsePatch(wan.hole_mask().unsqueeze(1), 1, None)
        window = type("Window", (), {"index_list": [1, 2]})
        latent = torch.zeros(1, 16, 2, 6, 8)
        whole = patch.tokens(torch.zeros(1, 16, *wan.CLIP), {})
        part = patch.tokens(latent, {"context_window": window})
        per_frame = 12
        assert part[0].tolist() == [t - per_frame for t in whole[0].tolist() if t >= per_frame]


class TestErrors:
    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ((20, 48, 64), "mask: expected 1 frame or the video's 9, got 20"),
            ((9, 64, 48), "mask: expected the proportions of the video's 64 x 48 pixels"),
        ],
    )
    def test_a_mask_of_another_clip(self, native, patch, shape, message):
        with pytest.raises(ValueError, match=message):
            sample(patch(native, torch.ones(shape)))

    def test_a_mask_that_is_no_number(self, native, patch):
        with pytest.raises(ValueError, match="mask: expected finite values"):
            patch(native, torch.full((9, 48, 64), float("nan")))

    def test_an_even_dilation(self, native, patch):
        with pytest.raises(ValueError, match="dilation: expected an odd number"):
            sample(patch(native, wan.hole_mask(), 4))

    def test_no_masked_video_in_the_conditioning(self, native, patch):
        with pytest.raises(ValueError, match="expected the masked video's latents"):
            sample(patch(native, wan.hole_mask()), known=False)

    def test_another_model(self, native, patch):
        wan_model = importlib.import_module("comfy.ldm.wan.model")

        class Vace(wan_model.WanModel):
            """As VaceWanModel: a forward_orig of its own."""

        native.model.diffusion_model.__class__ = Vace
        with pytest.raises(ValueError, match=r"model: expected a Wan 2\.1 .* got Vace"):
            patch(native, wan.hole_mask())

    def test_other_input_channels(self, native, patch):
        embedding = torch.nn.Conv3d(48, 256, (1, 2, 2), (1, 2, 2))
        native.model.diffusion_model.patch_embedding = embedding
        with pytest.raises(ValueError, match="got a Wan model with 48 input channels"):
            patch(native, wan.hole_mask())
