"""Dropped tokens that take part as means."""

import math

import pytest
import torch

from dreamstereo_core.models.attention import rope_rotation
from dreamstereo_core.models.config import TransformerConfig
from dreamstereo_core.models.sparse import patchify, pool_dropped, token_mask
from dreamstereo_core.models.transformer import Transformer

CONFIG = TransformerConfig(
    in_dim=20, dim=48, ffn_dim=96, num_heads=2, num_layers=2, freq_dim=32, cross_attention=False
)
T, H, W = 2, 5, 7  # tokens: no multiples of the squares' side
KEPT = torch.tensor([[0, 1, 7, 8, 12, 33, 34, 40, 61]])


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Transformer(CONFIG).eval()


@pytest.fixture
def latent():
    return torch.randn((1, 20, T, 2 * H, 2 * W), generator=torch.Generator().manual_seed(1))


def obvious_pool(x, kept, pool):
    """Means and centres, square by square."""
    means, centres = [], []
    for t in range(T):
        for top in range(0, H, pool):
            for left in range(0, W, pool):
                rows, columns = range(top, min(top + pool, H)), range(left, min(left + pool, W))
                square = [(t * H + y) * W + x_ for y in rows for x_ in columns]
                dropped = [i for i in square if i not in kept]
                if dropped:
                    means.append(sum(x[i] for i in dropped) / len(dropped))
                    centres.append((t, (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2))
    return torch.stack(means), centres


def obvious_rotation(places, head_dim):
    """Cosine and sine of each place's angles, one by one."""
    space = head_dim // 6
    split = (head_dim // 2 - 2 * space, space, space)
    angles = torch.tensor(
        [
            [c * 10000 ** (-i / n) for c, n in zip(at, split, strict=True) for i in range(n)]
            for at in places
        ]
    )
    return angles.cos()[None, None], angles.sin()[None, None]


@pytest.mark.parametrize("pool", [1, 2, 4, 9])
def test_means_are_those_of_the_squares_dropped_tokens(pool):
    x = torch.randn(1, T * H * W, 3, generator=torch.Generator().manual_seed(2))
    pooled, squares = pool_dropped(x, KEPT, (T, H, W), pool)
    means, centres = obvious_pool(x[0], KEPT[0].tolist(), pool)
    assert torch.allclose(pooled[0], means, atol=1e-6)
    ours = rope_rotation(squares, (T, H, W), 24, pool=pool)
    for part, expected in zip(ours, obvious_rotation(centres, 24), strict=True):
        assert torch.allclose(part, expected, atol=1e-5)


def test_the_forward_equals_the_obvious_one(model, latent):
    conditioning = model.prepare(torch.ones(1))
    tokens = patchify(latent)[0]
    means, centres = obvious_pool(tokens, KEPT[0].tolist(), 3)
    kept = KEPT[0].tolist()
    places = [(i // (H * W), i // W % H, i % W) for i in kept] + centres
    weight = model.patch_embedding.weight.flatten(1)
    x = torch.cat([tokens[kept], means])[None] @ weight.T + model.patch_embedding.bias
    rotation = obvious_rotation(places, CONFIG.head_dim)
    for block, modulation in zip(model.blocks, conditioning.modulations, strict=True):
        x = block(x, modulation, rotation, ())
    expected = model.head(x, conditioning.head_modulation)[0, : len(kept)]
    velocity = model(latent, conditioning, KEPT, pool=3)
    ours = patchify(velocity)[0, kept].unflatten(1, (-1, 4)).transpose(1, 2).flatten(1)
    assert torch.allclose(ours, expected, atol=1e-5)


def test_squares_of_one_token_are_the_dense_forward(model, latent):
    conditioning = model.prepare(torch.ones(1))
    where = token_mask(KEPT, latent.shape)
    dense = model(latent, conditioning) * where
    plain = model(latent, conditioning, KEPT)
    pooled = model(latent, conditioning, KEPT, pool=1)
    assert torch.allclose(pooled, dense, atol=1e-5)
    assert not torch.allclose(plain, dense, atol=1e-2)


def test_all_tokens_kept_is_the_dense_forward(model, latent):
    conditioning = model.prepare(torch.ones(1))
    tokens = torch.arange(T * H * W)[None]
    ours = model(latent, conditioning, tokens, pool=4)
    assert torch.allclose(ours, model(latent, conditioning), atol=1e-5)


def test_no_token_kept_skips_the_network(model, latent):
    model.blocks[0].register_forward_hook(lambda *_: pytest.fail("ran"))
    velocity = model(latent, model.prepare(torch.ones(1)), KEPT[:, :0], pool=4)
    assert velocity.shape == (1, 16, T, 2 * H, 2 * W)
    assert not velocity.any()


@pytest.mark.parametrize("pool, clips", [(0, 1), (4, 2)])
def test_bad_arguments_are_named(model, latent, pool, clips):
    message = f"at least 1, and one clip, got {pool} and {clips} clips"
    with pytest.raises(ValueError, match=message):
        batch = latent.expand(clips, -1, -1, -1, -1)
        model(batch, model.prepare(torch.ones(1)), KEPT.expand(clips, -1), pool=pool)


def test_means_keep_half_precision():
    x = torch.full((1, T * H * W, 2), 1 / math.pi, dtype=torch.bfloat16)
    pooled, _ = pool_dropped(x, KEPT, (T, H, W), 4)
    assert pooled.dtype == torch.bfloat16
    assert bool((pooled == x[0, 0, 0]).all())
