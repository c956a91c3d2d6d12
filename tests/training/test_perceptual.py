"""The perceptual distance against its authors' own code, and as a loss."""

import sys
from types import ModuleType

import pytest
import torch

from evaluation import perceptual
from evaluation.perceptual import NETWORKS, Perceptual


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    return request.param


@pytest.fixture(scope="module")
def ours(network):
    return Perceptual(network)


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(2, 3, 49, 66, generator=generator)
    return a, (a + torch.randn(a.shape, generator=generator) * 0.1).clamp(0, 1)


@pytest.fixture
def theirs(network, monkeypatch):
    """The package's own metric; what it imports but does not need here is left empty."""
    for name in ("IPython", "torchsummary", "torchvision"):
        stub = ModuleType(name)
        for unused in ("embed", "summary", "models"):
            setattr(stub, unused, None)
        monkeypatch.setitem(sys.modules, name, stub)
    from stlpips_pytorch import stlpips

    return stlpips.LPIPS(net=network, variant="shift_tolerant", verbose=False)


def test_equals_the_published_code(ours, theirs, pair):
    assert torch.allclose(ours(*pair), theirs(*pair, normalize=True).flatten(), atol=1e-7)
    theirs.spatial = True
    assert torch.allclose(ours.spatial(*pair), theirs(*pair, normalize=True), atol=1e-7)
    assert (ours(*pair) > 1e-4).all()


def test_the_map_lies_where_the_pictures_differ(ours):
    a = torch.rand(1, 3, 128, 256, generator=torch.Generator().manual_seed(1))
    b = a.clone()
    b[..., 32:96, 16:80] = 0.5
    where = ours.spatial(a, b)[0, 0]
    assert where.shape == (128, 256)
    assert where[32:96, 16:80].mean() > 20 * where[:, 192:].mean()


def test_is_a_loss(ours):
    generator = torch.Generator().manual_seed(2)
    truth = torch.rand(1, 3, 40, 40, generator=generator)
    guess = torch.zeros_like(truth, requires_grad=True)  # black: unit vectors of nothing
    before = ours(guess, truth).sum()
    before.backward()
    assert guess.grad is not None and guess.grad.isfinite().all()
    step = 0.05 * guess.grad / guess.grad.abs().max()
    assert ours((guess - step).clamp(0, 1), truth).sum() < before
    assert ours(truth, truth).item() == 0
    assert not any(p.requires_grad for p in ours.parameters())


def test_says_what_is_wrong(ours, monkeypatch):
    with pytest.raises(ValueError, match=r"expected two equal shapes .* got \[1, 3, 40, 40\] and"):
        ours(torch.rand(1, 3, 40, 40), torch.rand(1, 3, 40, 41))
    with pytest.raises(ValueError, match="at least 32 pixels"):
        ours.spatial(torch.rand(1, 3, 31, 40), torch.rand(1, 3, 31, 40))
    with pytest.raises(ValueError, match="network: expected one of alex, vgg, got 'squeeze'"):
        Perceptual("squeeze")
    monkeypatch.setattr(perceptual, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"stlpips-pytorch.*dreamstereo\[train\]"):
        Perceptual("alex")
