import math

import pytest
import torch

from dreamstereo_core.models.attention import rope_axes, rope_rotation, rotate, sdpa
from dreamstereo_core.models.config import TRANSFORMERS, TransformerConfig
from dreamstereo_core.models.layers import timestep_embedding
from dreamstereo_core.models.sparse import select_tokens, token_mask
from dreamstereo_core.models.transformer import Transformer

from .fakes import TINY

NO_TEXT = TransformerConfig(
    in_dim=36, dim=48, ffn_dim=96, num_heads=2, num_layers=2, freq_dim=32, cross_attention=False
)
IMAGE = TransformerConfig(
    in_dim=36, dim=48, ffn_dim=96, num_heads=2, num_layers=2, text_dim=24, text_len=8, image_dim=40
)


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def make(config=TINY, **injected):
    torch.manual_seed(0)
    model = Transformer(config, **injected)
    if config.learned_context:
        model.context.normal_()
    return model.eval()


def random_latent(batch=1, channels=36, seed=1):
    return torch.randn((batch, channels, 3, 8, 12), generator=torch.Generator().manual_seed(seed))


def some_tokens():
    mask = torch.zeros(2, 1, 3, 8, 12)
    mask[0, 0, 1, 2, 3] = mask[1, 0, 2, 4, 9] = 1
    return select_tokens(mask, dilation=3)


def test_the_sizes_are_wans():
    with torch.device("meta"):
        models = {name: Transformer(config) for name, config in TRANSFORMERS.items()}
    sizes = {
        name: (sum(p.numel() for p in model.parameters()), len(model.state_dict()))
        for name, model in models.items()
    }
    assert sizes["wan2.1-t2v-1.3b"] == (1_418_996_800, 825)
    assert sizes["wan2.1-fun-inp-1.3b"] == (1_564_428_608, 983)
    extra = 20 * 4 * 1536 + 512 * 4096  # input channels and the context
    assert sizes["dreamstereo-1.3b"] == (1_418_996_800 + extra, 826)


def test_all_tokens_kept_is_the_dense_forward():
    model, latent = make(), random_latent(batch=2)
    conditioning = model.prepare(torch.tensor([0.3, 1.0]))
    tokens = torch.arange(3 * 4 * 6).expand(2, -1)
    assert torch.allclose(
        model(latent, conditioning, tokens), model(latent, conditioning), atol=1e-5, rtol=0
    )


def test_kept_tokens_do_not_depend_on_dropped_ones():
    model, tokens = make(), some_tokens()
    conditioning = model.prepare(torch.ones(1))
    kept = token_mask(tokens, torch.Size((2, 1, 3, 8, 12)))
    latent, other = random_latent(batch=2), random_latent(batch=2, seed=2)
    mixed = torch.where(kept, latent, other)
    velocity = model(latent, conditioning, tokens)
    assert torch.equal(model(mixed, conditioning, tokens), velocity)
    assert not torch.allclose(model(mixed, conditioning), model(latent, conditioning))
    outside = ~kept.expand_as(velocity)
    assert velocity[outside].count_nonzero() == 0
    assert (velocity[~outside] != 0).all()


def test_the_attention_sees_kept_tokens_only():
    lengths = []

    def attention(query, key, value):
        lengths.append((query.shape[2], key.shape[2]))
        return sdpa(query, key, value)

    model, tokens = make(NO_TEXT, attention=attention), some_tokens()
    model(random_latent(batch=2), model.prepare(torch.ones(1)), tokens)
    assert lengths == [(tokens.shape[1], tokens.shape[1])] * 2


def test_kept_tokens_have_their_absolute_positions():
    """Sparse attention is dense attention with the dropped keys masked out."""
    tokens = some_tokens()

    def masked(query, key, value):
        kept = torch.zeros(2, 1, 1, 72, dtype=torch.bool).scatter_(3, tokens[:, None, None], True)
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=kept)

    latent = random_latent(batch=2)
    sparse, dense = make(NO_TEXT), make(NO_TEXT, attention=masked)
    velocity = sparse(latent, sparse.prepare(torch.ones(1)), tokens)
    expected = dense(latent, dense.prepare(torch.ones(1)))
    expected = expected * token_mask(tokens, latent.shape)
    assert torch.allclose(velocity, expected, atol=1e-5)


def test_no_tokens_skip_the_network():
    model = make()
    conditioning = model.prepare(torch.ones(1))
    model.patch_embedding.register_forward_hook(lambda *_: pytest.fail("the network ran"))
    tokens = torch.zeros(2, 0, dtype=torch.int64)
    velocity = model(random_latent(batch=2), conditioning, tokens)
    assert velocity.shape == (2, 16, 3, 8, 12)
    assert velocity.count_nonzero() == 0


@pytest.mark.parametrize("config", [TINY, NO_TEXT, IMAGE])
def test_a_fixed_conditioning_is_computed_once(config):
    model = make(config)
    calls = []
    names = ("cross_attn.k", "cross_attn.v", "time_embedding", "text_embedding", "img_emb", "k_img")
    for name, module in model.named_modules():
        if name.endswith(names):
            module.register_forward_hook(lambda *_, name=name: calls.append(name))
    text = torch.randn(1, 5, config.text_dim) if config is IMAGE else None
    conditioning = model.prepare(torch.ones(1), text)
    assert len(calls) == len(set(calls)) > 0
    calls.clear()
    first, second = (model(random_latent(), conditioning) for _ in range(2))
    assert calls == []
    assert torch.equal(first, second)


def test_an_encoded_context_serves_many_timesteps():
    model, latent = make(), random_latent()
    context = torch.randn(1, 8, 24)
    encoded = model.encode_context(context)
    for time in (1.0, 0.5):
        timestep = torch.tensor([time])
        velocity = model(latent, model.prepare(timestep, encoded))
        assert torch.equal(velocity, model(latent, model.prepare(timestep, context)))


def test_one_conditioning_serves_a_batch_and_clips_do_not_mix():
    model, latent = make(), random_latent(batch=2)
    conditioning = model.prepare(torch.ones(1))
    velocity = model(latent, conditioning)
    alone = torch.cat([model(clip, conditioning) for clip in latent.split(1)])
    assert torch.allclose(velocity, alone, atol=1e-5)


def test_the_timestep_and_the_context_change_the_result():
    model, latent = make(), random_latent()
    results = [
        model(latent, model.prepare(torch.tensor([1.0]))),
        model(latent, model.prepare(torch.tensor([0.9]))),
        model(latent, model.prepare(torch.tensor([1.0]), torch.zeros(1, 8, 24))),
    ]
    assert not torch.allclose(results[0], results[1], atol=1e-4)
    assert not torch.allclose(results[0], results[2], atol=1e-4)


def test_a_short_context_is_padded_with_zeros():
    model = make()
    short = torch.randn(1, 3, 24)
    padded = torch.cat([short, torch.zeros(1, 5, 24)], dim=1)
    a, b = (model.prepare(torch.ones(1), context) for context in (short, padded))
    assert torch.equal(a.context.keys_values[1][0][0], b.context.keys_values[1][0][0])


def test_bfloat16_stays_close_and_returns_the_latents_dtype():
    model, latent = make(), random_latent()
    expected = model(latent, model.prepare(torch.ones(1)))
    model = model.to(torch.bfloat16)
    velocity = model(latent, model.prepare(torch.ones(1)))
    assert velocity.dtype == torch.float32
    assert (velocity - expected).abs().max() < 0.05 * expected.abs().max()


def test_modulation_and_gates_run_in_float32():
    model = make().to(torch.bfloat16)
    conditioning = model.prepare(torch.ones(1))
    assert {m.dtype for m in conditioning.modulations} == {torch.float32}
    assert conditioning.head_modulation.dtype == torch.float32


def test_rotations_follow_wans_split_and_bases():
    assert rope_axes(128) == (22, 21, 21)
    assert rope_axes(64) == (12, 10, 10)
    grid = (3, 4, 5)
    tokens = torch.tensor([[0, 1, 5, 20, 59]])  # (0,0,0) (0,0,1) (0,1,0) (1,0,0) (2,3,4)
    cosine, sine = rope_rotation(tokens, grid, 128)
    assert cosine.shape == (1, 1, 5, 64)
    angles = torch.atan2(sine, cosine)[0, 0]
    bases = [1e4 ** (-2 * i / 44) for i in range(22)] + 2 * [
        1e4 ** (-2 * i / 42) for i in range(21)
    ]
    steps = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [2, 3, 4]])
    steps = steps.repeat_interleave(torch.tensor([22, 21, 21]), dim=1)
    expected = torch.tensor(bases) * steps
    expected = torch.atan2(expected.sin(), expected.cos())
    assert torch.allclose(angles, expected, atol=1e-6)


def test_rotation_turns_neighbouring_channels():
    x = torch.tensor([1.0, 0.0, 0.0, 2.0]).reshape(1, 1, 1, 4)
    quarter = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 1.0])
    assert torch.equal(rotate(x, quarter).flatten(), torch.tensor([0.0, 1.0, -2.0, 0.0]))


def test_timesteps_run_to_1000_cosines_first():
    embedding = timestep_embedding(torch.tensor([0.25]), 4)
    expected = [math.cos(250), math.cos(2.5), math.sin(250), math.sin(2.5)]
    assert torch.allclose(embedding, torch.tensor([expected]), atol=1e-6)


def test_a_fresh_model_predicts_zero_and_can_learn():
    model = Transformer(TINY)
    model.initialize_weights()
    latent = random_latent()
    with torch.enable_grad():
        velocity = model(latent, model.prepare(torch.ones(1)))
        assert velocity.abs().max() == 0
        (velocity - latent[:, :16]).square().mean().backward()
    assert model.head.head.weight.grad.abs().max() > 0
    for parameter in (model.head.head.weight, model.context):  # both start at zero
        parameter.normal_()
    with torch.enable_grad():
        model(latent, model.prepare(torch.ones(1))).square().mean().backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m, z, c: m(z[:, :16], c), "latent: expected 36 channels, got 16"),
        (lambda m, z, c: m(z[..., :11], c), "latent: expected shape .* got .*11"),
        (lambda m, z, c: m(z[0], c), "latent: expected shape"),
        (lambda m, z, c: m(z, c, torch.zeros(1, 4).long()), r"tokens: expected shape \[2, K\]"),
        (lambda m, z, c: m(z, c, torch.zeros(2, 4)), "tokens: .* int64, got .* torch.float32"),
        (lambda m, z, c: m(z, m.prepare(torch.ones(3))), "conditioning: .* got one for 3"),
        (
            lambda m, z, c: m(z, m.prepare(torch.ones(1), torch.zeros(3, 8, 24))),
            "conditioning: .* got one for 3",
        ),
        (lambda m, z, c: m.prepare(torch.tensor(1.0)), "timestep: expected shape"),
        (lambda m, z, c: m.prepare(torch.ones(1), torch.zeros(1, 9, 24)), "at most 8 tokens"),
        (lambda m, z, c: m.prepare(torch.ones(1), torch.zeros(1, 8, 20)), r"\[B, L, 24\]"),
        (lambda m, z, c: m.prepare(torch.ones(1), image=torch.zeros(1, 1, 4)), "no image branch"),
        (lambda m, z, c: make(IMAGE).prepare(torch.ones(1)), "context: .* got None"),
        (lambda m, z, c: make(NO_TEXT).prepare(torch.ones(1), z), "no cross-attention"),
    ],
)
def test_bad_arguments_are_named(call, message):
    model = make()
    with pytest.raises(ValueError, match=message):
        call(model, random_latent(batch=2), model.prepare(torch.ones(1)))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_configs_go_through_json(name):
    config = TRANSFORMERS[name]
    assert TransformerConfig.from_json(config.to_json()) == config
    assert config.is_inpainting == (name != "wan2.1-t2v-1.3b")


@pytest.mark.parametrize("text", ["[]", "{}", "{", '{"in_dim": 16}'])
def test_other_json_is_refused(text):
    with pytest.raises(ValueError):
        TransformerConfig.from_json(text)


def test_bad_configs_are_named():
    with pytest.raises(ValueError, match="even number, got 50 / 4"):
        TransformerConfig(in_dim=16, dim=50, ffn_dim=8, num_heads=4, num_layers=1)
    with pytest.raises(ValueError, match="need cross_attention"):
        TransformerConfig(
            in_dim=16,
            dim=48,
            ffn_dim=8,
            num_heads=2,
            num_layers=1,
            cross_attention=False,
            learned_context=True,
        )
