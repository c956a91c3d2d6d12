import pytest
import torch
from torch._dynamo.testing import CompileCounter

from dreamstereo_core import select_tokens
from dreamstereo_core.models.sparse import (
    blend_latents,
    gather_tokens,
    pad_tokens,
    patchify,
    scatter_tokens,
    token_mask,
)
from dreamstereo_core.models.transformer import Transformer

from .fakes import TINY

T, H, W = 3, 16, 24
h, w = H // 2, W // 2


def mask_at(*places, batch=1):
    """An empty mask with single latents (clip, frame, y, x) missing."""
    mask = torch.zeros(batch, 1, T, H, W)
    for clip, frame, y, x in places:
        mask[clip, 0, frame, y, x] = 1
    return mask


def index(frame, y, x):
    return (frame * h + y) * w + x


@pytest.mark.parametrize("y, x", [(6, 8), (6, 9), (7, 8), (7, 9)])
def test_a_touched_latent_keeps_its_token(y, x):
    tokens = select_tokens(mask_at((0, 1, y, x)), dilation=1)
    assert tokens.dtype == torch.int64
    assert tokens.tolist() == [[index(1, 3, 4)]]


def test_any_value_above_zero_touches():
    assert select_tokens(mask_at((0, 1, 6, 8)) * 1e-4, dilation=1).tolist() == [[index(1, 3, 4)]]
    assert select_tokens(mask_at((0, 1, 6, 8)) > 0, dilation=1).tolist() == [[index(1, 3, 4)]]


def test_dilation_is_a_square_within_the_frame():
    tokens = select_tokens(mask_at((0, 1, 6, 8)), dilation=3)
    square = [index(1, y, x) for y in (2, 3, 4) for x in (3, 4, 5)]
    assert tokens.tolist() == [square]


def test_dilation_stops_at_the_border():
    tokens = select_tokens(mask_at((0, 2, 0, 0)))
    assert tokens.tolist() == [[index(2, y, x) for y in range(3) for x in range(3)]]


def test_temporal_stride_keeps_whole_frames_from_the_first():
    tokens = select_tokens(mask_at((0, 1, 6, 8)), dilation=1, temporal_stride=2)
    assert tokens.tolist() == [[*range(h * w), index(1, 3, 4)]]


@pytest.mark.parametrize(("dilation", "kept"), [(3, 25.6), (5, 36.1)])
@pytest.mark.parametrize(("stride", "added"), [(20, 5.1), (10, 10.2)])
def test_the_stride_adds_what_table_4_says(dilation, kept, stride, added):
    """The share of what the mask leaves out; a third frame would make it 14 %."""
    latents = torch.zeros(1, 1, 21, 48, 80)
    width = round(80 * kept / 100) // 2 * 2 - (dilation - 1)  # the square grows it to both sides
    latents[..., 20 : 20 + width] = 1
    dense = latents[:, :, :, ::2, ::2].numel()
    plain = select_tokens(latents, dilation=dilation).shape[1]
    more = select_tokens(latents, dilation=dilation, temporal_stride=stride).shape[1]
    assert 100 * (more - plain) / (dense - plain) == pytest.approx(added, abs=0.7)


def test_dilation_on_the_grid_of_the_latents():
    mask = torch.zeros(1, 1, 1, H, W)
    mask[..., 3, 5] = 1  # its square of 3 latents reaches the tokens below and to the right
    tokens = select_tokens(mask, dilation=3, grid="latents")
    assert tokens.tolist() == [[y * w + x for y in (1, 2) for x in (2, 3)]]
    with pytest.raises(ValueError, match="grid: expected one of tokens, latents, got 'pixels'"):
        select_tokens(mask, grid="pixels")


@pytest.mark.parametrize("stride", [None, 1])
def test_an_empty_mask_keeps_nothing(stride):
    assert select_tokens(mask_at(batch=2), temporal_stride=stride).shape == (2, 0)


def test_a_full_mask_keeps_everything():
    tokens = select_tokens(torch.ones(2, 1, T, H, W))
    assert torch.equal(tokens, torch.arange(T * h * w).expand(2, -1))


def test_clips_of_equal_counts_stand_alone():
    places = [(0, 1, 6, 8), (1, 2, 8, 10)]
    tokens = select_tokens(mask_at(*places, batch=2), dilation=1)
    assert tokens.tolist() == [[index(1, 3, 4)], [index(2, 4, 5)]]


def test_clips_of_other_counts_are_topped_up():
    places = [(0, 1, 6, 8), (1, 1, 2, 2), (1, 1, 8, 8), (1, 2, 8, 8)]
    tokens = select_tokens(mask_at(*places, batch=2), dilation=1)
    assert tokens.tolist() == [
        [0, 1, index(1, 3, 4)],
        [index(1, 1, 1), index(1, 4, 4), index(2, 4, 4)],
    ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"latent_mask": torch.zeros(1, 2, 3, 4, 4)}, r"\[B, 1, T', H', W'\], got \[1, 2, 3, 4, 4"),
        ({"latent_mask": torch.zeros(1, 1, 3, 5, 4)}, "H' and W' even"),
        ({"latent_mask": torch.zeros(1, 1, 3, 0, 4)}, "H' and W' even"),
        ({"latent_mask": torch.full((1, 1, 3, 4, 4), torch.nan)}, "negative ones or NaN"),
        ({"latent_mask": -mask_at((0, 0, 0, 0))}, "negative ones or NaN"),
        ({"dilation": 4}, "dilation: expected an odd number of tokens from 1 up, got 4"),
        ({"dilation": -1}, "dilation: expected an odd number"),
        ({"temporal_stride": 0}, "temporal_stride: expected None or at least 1, got 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        select_tokens(**{"latent_mask": mask_at(), **arguments})


def test_gathered_tokens_scatter_back_to_their_places():
    x = torch.rand(2, 10, 3)
    tokens = torch.tensor([[0, 3, 9], [1, 2, 4]])
    kept = gather_tokens(x, tokens)
    assert torch.equal(kept[1], x[1, [1, 2, 4]])
    back = scatter_tokens(kept, tokens, 10)
    assert torch.equal(back[0, [0, 3, 9]], x[0, [0, 3, 9]])
    assert back.count_nonzero() == kept.count_nonzero()


def test_a_token_is_two_by_two_latents():
    latent = torch.arange(2 * T * H * W).reshape(1, 2, T, H, W)
    token = patchify(latent)[0, index(2, 3, 4)]
    assert torch.equal(token, latent[0, :, 2, 6:8, 8:10].flatten())


def test_unselected_tokens_come_back_from_the_masked_video():
    mask = mask_at((0, 1, 6, 8), (1, 2, 0, 0), batch=2)
    tokens = select_tokens(mask, dilation=1)
    inpainted, masked = torch.ones(2, 16, T, H, W), torch.zeros(2, 16, T, H, W)
    blended = blend_latents(inpainted, masked, tokens)
    expected = torch.zeros(2, 16, T, H, W)
    expected[0, :, 1, 6:8, 8:10] = 1
    expected[1, :, 2, 0:2, 0:2] = 1
    assert torch.equal(blended, expected)
    assert torch.equal(token_mask(tokens, mask.shape), expected[:, :1] > 0)


@pytest.mark.parametrize("bucket", [1, 4, 16, 64])
def test_tokens_in_buckets_give_the_same(bucket):
    torch.manual_seed(0)
    model = Transformer(TINY).eval().requires_grad_(False)
    model.initialize_weights()
    torch.nn.init.normal_(model.head.head.weight)
    latent = torch.randn(2, 36, 2, 8, 8)
    tokens = torch.stack([torch.randperm(32)[:13].sort().values for _ in range(2)])
    conditioning = model.prepare(torch.ones(1))
    plain = model(latent, conditioning, tokens)
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    padded = model(latent, conditioning, tokens, bucket=bucket)
    assert torch.allclose(padded, plain, atol=1e-5) and plain.abs().max() > 0.1
    assert seen == [-(-13 // bucket) * bucket]


def test_a_bucket_of_no_tokens_is_refused():
    with pytest.raises(ValueError, match="bucket: expected at least 1, got 0"):
        pad_tokens(torch.zeros(1, 3, dtype=torch.int64), 0)


def test_the_rest_of_a_bucket_is_marked():
    padded, real = pad_tokens(torch.tensor([[3, 5]]), 4)
    assert padded.tolist() == [[3, 5, 0, 0]] and real.tolist() == [[[[True, True, False, False]]]]


def test_one_compiled_graph_serves_every_count_of_a_bucket():
    counter = CompileCounter()
    model = Transformer(TINY).eval().requires_grad_(False)
    for block in model.blocks:  # `fullgraph` refuses whatever would leave the graph
        compiled = torch.compile(block.forward, backend=counter, fullgraph=True, dynamic=False)
        block.forward = compiled
    latent, conditioning = torch.randn(1, 36, 1, 8, 8), model.prepare(torch.ones(1))

    def graphs(bucket):
        made = []
        for count in (9, 12, 16):
            model(latent, conditioning, torch.arange(count)[None], bucket=bucket)
            made.append(counter.frame_count)
        return made

    first, *others = graphs(8)
    assert others == [first, first]
    assert graphs(None)[-1] > first
