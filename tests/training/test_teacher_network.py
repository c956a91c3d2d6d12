"""The published network that teaches depth: names, shapes, arithmetic, files that are none."""

import pytest
import torch

from dreamstereo_core.models.files.checkpoint_file import CheckpointError
from making.teacher_network import ShuffleBlock, TeacherNetwork, load_teacher, taught_by_published

SHAPES = {
    "encoder.first_conv.0.weight": (24, 3, 3, 3),
    "encoder.features.0.branch_main.0.weight": (24, 24, 1, 1),
    "encoder.features.0.branch_proj.2.weight": (24, 24, 1, 1),
    "encoder.features.1.branch_main.3.weight": (24, 1, 3, 3),
    "encoder.features.4.branch_main.5.weight": (48, 48, 1, 1),
    "encoder.features.12.branch_proj.0.weight": (96, 1, 3, 3),
    "encoder.features.15.branch_main.6.running_var": (96,),
    "decoder.decoder3.skip_conv.0.weight": (48, 96, 1, 1),
    "decoder.decoder2.last_conv.0.conv.0.weight": (120, 1, 3, 3),
    "decoder.decoder1.last_conv.0.conv.3.weight": (24, 60, 1, 1),
    "decoder.decoder1.last_conv.1.bias": (24,),
    "decoder.final.weight": (1, 24, 3, 3),
}
"""Some of the published file's, one of each kind."""


@pytest.fixture
def weights():
    """Random ones, batch norms too."""
    torch.manual_seed(0)
    network = TeacherNetwork()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2)
            module.running_mean.normal_(0, 0.1)
    return network.state_dict()


def test_names_and_shapes_are_the_published_ones(weights):
    assert {name: tuple(weights[name].shape) for name in SHAPES} == SHAPES
    parameters = sum(x.numel() for x in TeacherNetwork().parameters())
    assert parameters == 186_063 - (48 + 96) * 9 - 2  # without the heads for its training


def test_copies_and_heads_for_training_are_left_out(weights, tmp_path):
    more = dict(weights)
    for name in list(weights):
        if name.startswith("encoder.features.0."):
            more[name.replace("features", "stage1")] = weights[name]
    more |= {"decoder.final2.0.bias": torch.zeros(1), "decoder.final3.0.bias": torch.zeros(1)}
    torch.save(more, tmp_path / "small.pt.tar")
    network = load_teacher(tmp_path / "small.pt.tar")
    plain = TeacherNetwork().eval()
    plain.load_state_dict(weights)
    picture = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        answer = network(picture)
        assert answer.shape == (1, 1, 32, 48) and (answer >= 0).all()
        torch.testing.assert_close(answer, plain(picture), rtol=1e-4, atol=1e-4)


def test_channels_are_shuffled_in_pairs():
    block = ShuffleBlock(8, 8, first=False).eval()
    x = torch.rand(1, 8, 4, 4)
    assert torch.equal(block(x)[:, :4], x[:, ::2])


def test_files_that_are_none_are_named(weights, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a file"):
        load_teacher(tmp_path / "none")
    path = tmp_path / "small.pt.tar"
    path.write_bytes(b"no")
    with pytest.raises(CheckpointError, match="expected a PyTorch file"):
        load_teacher(path)
    torch.save([1], path)
    with pytest.raises(CheckpointError, match="got list"):
        load_teacher(path)
    torch.save({**weights, "decoder.final.bias": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"decoder.final.bias: expected \(1,\), got \(2,\)"):
        load_teacher(path)
    del weights["decoder.final.bias"]
    torch.save(weights, path)
    with pytest.raises(CheckpointError, match=r"differing \['decoder.final.bias'\]"):
        load_teacher(path)


def test_it_teaches_at_two_sizes_beside_the_own_network():
    seen = []

    def teacher(picture):
        seen.append(picture.shape[-2:])
        return picture.mean(1, keepdim=True)[..., ::2, ::2] * 7 + 1

    class Own:
        def predict(self, picture):
            return picture.mean(1, keepdim=True)[..., ::4, ::4] * 0.1, None

    clip = torch.linspace(0, 1, 192).expand(2, 3, 112, 192)
    taught = taught_by_published(teacher, Own(), clip)
    assert seen == [(256, 448), (256, 448), (384, 672)]
    assert taught.shape == (1, 1, 56, 96)
    assert abs(float(taught.mean())) < 1e-4 and abs(float(taught.std()) - 1) < 0.02
