"""Our transformer against diffusers' on the same random weights and inputs."""

import pytest
import torch
from diffusers import WanTransformer3DModel

from dreamstereo_core.models.config import TransformerConfig
from dreamstereo_core.models.files.names import to_diffusers, to_original
from dreamstereo_core.models.transformer import Transformer

# float32 rounding gives 2e-6; the other GELU would give some 5e-5.
TOLERANCE = 1e-5
SIZES = {"dim": 96, "ffn_dim": 160, "num_layers": 2, "freq_dim": 64, "text_dim": 40}
CONFIGS = {
    "t2v": TransformerConfig(in_dim=16, num_heads=2, **SIZES),
    "t2v, heads of 32": TransformerConfig(in_dim=16, num_heads=3, **SIZES),
    "36 channels": TransformerConfig(in_dim=36, num_heads=2, **SIZES),
    "36 channels and image": TransformerConfig(in_dim=36, num_heads=2, image_dim=56, **SIZES),
}


def randomize(model: torch.nn.Module) -> torch.nn.Module:
    """Every parameter random, norms and biases too: a swapped one must show."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = noise / max(parameter[0].numel(), 1) ** 0.5 + (parameter.ndim == 1)
    return model.eval()


def reference(config: TransformerConfig) -> WanTransformer3DModel:
    return WanTransformer3DModel(
        num_attention_heads=config.num_heads,
        attention_head_dim=config.head_dim,
        in_channels=config.in_dim,
        out_channels=config.out_dim,
        text_dim=config.text_dim,
        freq_dim=config.freq_dim,
        ffn_dim=config.ffn_dim,
        num_layers=config.num_layers,
        image_dim=config.image_dim,
        added_kv_proj_dim=config.dim if config.image_dim else None,
    ).eval()


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


@torch.no_grad()
@pytest.mark.parametrize("name", CONFIGS)
def test_same_weights_give_the_same_velocity(name):
    config = CONFIGS[name]
    ours = randomize(Transformer(config))
    theirs = reference(config)
    state = {to_diffusers(key): value for key, value in ours.state_dict().items()}
    theirs.load_state_dict(state, strict=True)
    generator = torch.Generator().manual_seed(1)
    latent = torch.randn((3, config.in_dim, 3, 4, 10), generator=generator)
    # Few distinct tokens: over many, an error in the text embedding would average out.
    text = torch.randn((3, 2, config.text_dim), generator=generator).repeat(1, 256, 1)
    image = None
    if config.image_dim:
        image = torch.randn((3, 257, config.image_dim), generator=generator)
    timestep = torch.tensor([0.0, 0.37, 1.0])

    velocity = ours(latent, ours.prepare(timestep, text, image=image))
    expected = theirs(latent, timestep * 1000, text, image).sample

    assert relative_error(velocity, expected) < TOLERANCE


@torch.no_grad()
def test_zeros_for_the_image_need_only_one_token():
    config = CONFIGS["36 channels and image"]
    ours, theirs = randomize(Transformer(config)), reference(config)
    theirs.load_state_dict({to_diffusers(k): v for k, v in ours.state_dict().items()})
    generator = torch.Generator().manual_seed(1)
    latent = torch.randn((1, 36, 2, 4, 6), generator=generator)
    text = torch.randn((1, 512, config.text_dim), generator=generator)
    timestep = torch.ones(1)
    velocity = ours(latent, ours.prepare(timestep, text))
    expected = theirs(latent, timestep * 1000, text, torch.zeros(1, 257, config.image_dim)).sample
    assert relative_error(velocity, expected) < TOLERANCE


def test_names_go_to_diffusers_and_back():
    config = CONFIGS["36 channels and image"]
    with torch.device("meta"):
        names = Transformer(config).state_dict().keys()
        theirs = reference(config).state_dict().keys()
    assert {to_diffusers(name) for name in names} == set(theirs)
    assert [to_original(to_diffusers(name)) for name in names] == list(names)
