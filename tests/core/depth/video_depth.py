"""What the tests of Video-Depth-Anything share: published shapes, small weights, a film."""

import math

import numpy as np
import torch
from torch.nn import functional as F

from dreamstereo_core.models.depth.video_depth_anything import VideoDepthConfig

TINY = VideoDepthConfig(32, 4, 2, (0, 1, 2, 3), 32, (8, 16, 32, 32), 4)
H, W = 56, 70


def layer(name, *shape, bias=True):
    return {f"{name}.weight": shape} | ({f"{name}.bias": shape[:1]} if bias else {})


def encoder_shapes(dim, layers, grid):
    """DINOv2's published keys, as they are in every Depth Anything."""
    shapes = {"cls_token": (1, 1, dim), "pos_embed": (1, grid**2 + 1, dim), "mask_token": (1, dim)}
    shapes |= layer("patch_embed.proj", dim, 3, 14, 14) | layer("norm", dim)
    for i in range(layers):
        block = layer("norm1", dim) | layer("attn.qkv", 3 * dim, dim) | layer("attn.proj", dim, dim)
        block |= (
            layer("norm2", dim) | layer("mlp.fc1", 4 * dim, dim) | layer("mlp.fc2", dim, 4 * dim)
        )
        block |= {"ls1.gamma": (dim,), "ls2.gamma": (dim,)}
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    return shapes


def motion_shapes(dim):
    """A motion module of AnimateDiff with two attentions, and positions for 32 frames."""
    shapes = layer("norm", dim) | layer("proj_in", dim, dim) | layer("proj_out", dim, dim)
    block = layer("ff.net.0.proj", 8 * dim, dim) | layer("ff.net.2", dim, 4 * dim)
    block |= layer("ff_norm", dim) | layer("norms.0", dim) | layer("norms.1", dim)
    for i in range(2):
        for name in ("to_q", "to_k", "to_v"):
            block |= layer(f"attention_blocks.{i}.{name}", dim, dim, bias=False)
        block |= layer(f"attention_blocks.{i}.to_out.0", dim, dim)
        block |= {f"attention_blocks.{i}.pos_encoder.pe": (1, 32, dim)}
    return shapes | {f"transformer_blocks.0.{name}": shape for name, shape in block.items()}


def published_shapes(dim, layers, features, widths, grid=37):
    """The published keys of video_depth_anything_vit*.pth, written down from its repository."""
    shapes = {f"pretrained.{k}": shape for k, shape in encoder_shapes(dim, layers, grid).items()}
    head = layer("resize_layers.0", widths[0], widths[0], 4, 4)
    head |= layer("resize_layers.1", widths[1], widths[1], 2, 2)
    head |= layer("resize_layers.3", widths[3], widths[3], 3, 3)
    for i, width in enumerate(widths):
        head |= layer(f"projects.{i}", width, dim, 1, 1)
        head |= layer(f"scratch.layer{i + 1}_rn", features, width, 3, 3, bias=False)
        head |= layer(f"scratch.refinenet{i + 1}.out_conv", features, features, 1, 1)
        for unit in ("1.conv1", "1.conv2", "2.conv1", "2.conv2"):
            name = f"scratch.refinenet{i + 1}.resConfUnit{unit}"
            head |= layer(name, features, features, 3, 3)
    head |= layer("scratch.output_conv1", features // 2, features, 3, 3)
    head |= layer("scratch.output_conv2.0", 32, features // 2, 3, 3)
    head |= layer("scratch.output_conv2.2", 1, 32, 1, 1)
    for i, width in enumerate((*widths[2:], features, features)):
        name = f"motion_modules.{i}.temporal_transformer"
        head |= {f"{name}.{k}": shape for k, shape in motion_shapes(width).items()}
    return shapes | {f"head.{name}": shape for name, shape in head.items()}


def tiny_weights():
    """Weights that numpy promises to draw alike for ever; the positions are the published sines."""
    random, weights = np.random.RandomState(0), {}
    for name, shape in sorted(published_shapes(32, 4, 32, TINY.widths, 4).items()):
        values = torch.from_numpy(random.standard_normal(shape)).float()
        values /= math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 2
        scales = len(shape) == 1 and ("norm" in name or "gamma" in name) and "bias" not in name
        weights[name] = values + 1 if scales else values
        if name.endswith(".pe"):
            place = torch.arange(32.0)[:, None]
            angles = place * 10000 ** (-torch.arange(0, shape[2], 2) / shape[2])
            weights[name][0, :, 0::2], weights[name][0, :, 1::2] = angles.sin(), angles.cos()
    weights["head.scratch.output_conv2.2.bias"] += 3
    return weights


def film(frames, seed=1):
    """A bright block that moves over a texture, in 8 bits, ``[frames, 3, 56, 70]``."""
    random = np.random.RandomState(seed)
    still = torch.from_numpy(random.randint(0, 256, (1, 3, H // 7, W // 7))).float() / 255
    video = F.interpolate(still, (H, W), mode="nearest").repeat(frames, 1, 1, 1)
    for i in range(frames):
        video[i, :, 14:35, (2 * i) % 50 : (2 * i) % 50 + 20] = 0.9 - 0.005 * (i % 60)
    return (video * 255).round() / 255


def predict(depth, video, sizes, state=None):
    parts = []
    for i, chunk in enumerate(video.split(sizes)):
        raw, state = depth.predict(chunk, state, new_shot=i == 0)
        parts.append(raw)
    return torch.cat([*parts, depth.flush(state)])
