"""Our transformer against ComfyUI's on the same random weights and inputs."""

import importlib

import pytest
import torch

# float32 rounding gives 2e-6; the other GELU would give some 5e-5.
TOLERANCE = 1e-5
SIZES = {"dim": 96, "ffn_dim": 160, "num_layers": 2, "num_heads": 2, "freq_dim": 64, "text_dim": 40}
MODELS = {
    "t2v": {"in_dim": 16},
    "36 channels": {"in_dim": 36},
    "36 channels and image": {"in_dim": 36, "image_dim": 1280},
}


@pytest.fixture
def models(core):
    return importlib.import_module("dreamstereo_core.models.transformer")


@pytest.fixture
def make(models):
    def make(name: str, **injected):
        config = models.TransformerConfig(**SIZES, **MODELS[name])
        model = models.Transformer(config, **injected)
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data = noise / parameter[0].numel() ** 0.5 + (parameter.ndim == 1)
        return model.eval()

    return make


def reference(config, state):
    wan = importlib.import_module("comfy.ldm.wan.model")
    operations = importlib.import_module("comfy.ops").disable_weight_init
    model = wan.WanModel(
        model_type="i2v" if config.image_dim else "t2v",
        operations=operations,
        dtype=torch.float32,
        **{"in_dim": config.in_dim, **SIZES},
    )
    model.load_state_dict(state, strict=True)
    return model.eval()


def inputs(config, *, context_tokens=512):
    generator = torch.Generator().manual_seed(1)
    latent = torch.randn((2, config.in_dim, 3, 6, 8), generator=generator)
    text = torch.randn((2, context_tokens, config.text_dim), generator=generator)
    image = torch.randn((2, 257, 1280), generator=generator) if config.image_dim else None
    return latent, torch.tensor([0.25, 0.9]), text, image


def relative_error(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_same_weights_give_the_same_velocity(make, name):
    ours = make(name)
    theirs = reference(ours.config, ours.state_dict())
    latent, timestep, text, image = inputs(ours.config)
    velocity = ours(latent, ours.prepare(timestep, text, image=image))
    expected = theirs(latent, timestep * 1000, text, clip_fea=image)
    assert relative_error(velocity, expected) < TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_comfyui_operations_and_attention_can_be_injected(make, dtype):
    comfy_attention = importlib.import_module("comfy.ldm.modules.attention")
    operations = importlib.import_module("comfy.ops").manual_cast

    def attention(query, key, value):
        return comfy_attention.optimized_attention(
            query, key, value, query.shape[1], skip_reshape=True, skip_output_reshape=True
        )

    plain = make("36 channels and image")
    injected = make("36 channels and image", operations=operations, attention=attention)
    assert isinstance(injected.blocks[0].ffn[0], operations.Linear)
    for parameter in injected.parameters():
        parameter.requires_grad_(False)
        parameter.data = parameter.data.to(dtype)
    for parameter in plain.parameters():
        parameter.data = parameter.data.to(dtype).float()  # what the stored weights stand for
    latent, timestep, text, image = inputs(plain.config)
    velocity = injected(latent, injected.prepare(timestep, text, image=image))
    expected = plain(latent, plain.prepare(timestep, text, image=image))
    tolerance = 1e-5 if dtype == torch.float32 else 0.05  # computed in bfloat16
    assert velocity.dtype == torch.float32
    assert relative_error(velocity, expected) < tolerance
