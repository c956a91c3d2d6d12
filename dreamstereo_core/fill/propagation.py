"""Fill holes with background that other frames reveal, along the background's motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..optical_flow import bidirectional_flow, consistency, warp
from .coherence import find_background, pull_push, spatial_fill
from .inpainter import MaskedFrame

REVEALED = 50.0
"""Weight of a background pixel that another frame shows; the frame's own fill has weight 1."""
GUESSED = 0.5
"""Weight of a pixel that is filled in the other frame, too."""
COLOUR_TOLERANCE = 0.04
"""Mean colour difference on the background at which trust in another frame falls to 1/e."""
FLOW_WIDTH = 256
"""Width of the grid on which motion is estimated, in pixels."""


@dataclass(frozen=True)
class FilledFrame:
    """One frame, filled by itself, and what filling its neighbours needs."""

    warped: Tensor
    """`[1, 3, H, W]`, not filled. Others hold this tensor too, so it takes no memory of its own."""
    colours: Tensor
    """`[3, N]`, the fill of the hole pixels."""
    disparity: Tensor | None
    """`[1, 1, H, W]` or None."""
    holes: tuple[Tensor, Tensor]
    """Rows and columns of the N hole pixels."""
    threshold: Tensor
    """`[N]`, the disparity below which each of them shows background."""
    thumbnail: Tensor
    """`[1, 3, h, w]`: `video` on the motion grid."""
    background: Tensor
    """`[1, 1, h, w]`: the background's weight on the motion grid."""

    @property
    def video(self) -> Tensor:
        """`[1, 3, H, W]` with its holes filled; made anew at each call."""
        row, column = self.holes
        filled = self.warped.clone()
        filled[0][:, row, column] = self.colours
        return filled

    @property
    def mask(self) -> Tensor:
        """`[1, 1, H, W]`, 1 in holes; made anew at each call."""
        row, column = self.holes
        mask = torch.zeros_like(self.warped[:, :1])
        mask[0, 0, row, column] = 1
        return mask


@dataclass(frozen=True)
class BackgroundMotion:
    """Flow `[1, 2, h, w]` of the background, continued under the foreground and the holes."""

    forward: Tensor
    backward: Tensor


def fill_frame(frame: MaskedFrame) -> FilledFrame:
    """Fill one frame by itself."""
    video, mask, disparity = (
        frame.video,
        (frame.occlusion_mask > 0).to(frame.video),
        frame.disparity,
    )
    background = find_background(video, mask, disparity)
    filled = spatial_fill(video, mask, background, frame.stretched)
    height, width = mask.shape[-2:]
    grid_width = min(FLOW_WIDTH, width)
    size = (max(1, round(height * grid_width / width)), grid_width)
    row, column = mask[0, 0].nonzero(as_tuple=True)  # [N] each
    return FilledFrame(
        warped=video,
        colours=filled[0][:, row, column],
        disparity=disparity,
        holes=(row, column),
        threshold=background.threshold[0, 0, row, column],
        thumbnail=F.interpolate(filled, size, mode="area"),
        background=F.interpolate(background.weight, size, mode="area"),
    )


def background_motion(a: FilledFrame, b: FilledFrame) -> BackgroundMotion:
    """Estimate how the background moves from `a` to `b` and back."""
    forward, backward = bidirectional_flow(a.thumbnail, b.thumbnail, width=FLOW_WIDTH)
    both = torch.cat([forward, backward])  # [2, 2, h, w]
    sure = torch.cat([consistency(forward, backward), consistency(backward, forward)])
    weight = torch.cat([a.background, b.background]) * sure  # [2, 1, h, w]
    forward, backward = pull_push(both, weight.clamp(min=1e-4)).chunk(2)
    return BackgroundMotion(forward, backward)


def propagate(
    frames: Sequence[FilledFrame],
    motions: Sequence[BackgroundMotion],
    centre: int,
    reach: Sequence[int],
) -> Tensor:
    """Fill one frame from its neighbours.

    Args:
        frames: a window of one shot.
        motions: between `frames[i]` and `frames[i + 1]`.
        centre: index of the frame to fill.
        reach: distances, in frames, of the neighbours to ask.

    Returns:
        `[1, 3, H, W]`; known pixels stay as they are.
    """
    here = frames[centre]
    row, column = here.holes  # [N] each
    paths = _paths(motions, centre, reach, here.thumbnail)
    if not row.numel() or not paths:
        return here.video
    errors = _disagreement(here, [frames[at] for at in paths], torch.cat(list(paths.values())))
    total = here.colours.clone()  # [3, N]
    weight = torch.ones_like(total[:1])  # [1, N]
    for (at, path), error in zip(paths.items(), errors, strict=True):
        colour, trust = _look_up(here, frames[at], torch.cat([path, error[None]], dim=1))
        trust = trust / abs(at - centre)
        total += colour * trust
        weight += trust
    result = here.warped.clone()
    result[0][:, row, column] = total / weight
    return result


def _paths(
    motions: Sequence[BackgroundMotion], centre: int, reach: Sequence[int], like: Tensor
) -> dict[int, Tensor]:
    """Chain motions outwards; return frame index -> flow `[1, 2, h, w]` on the centre's grid."""
    paths: dict[int, Tensor] = {}
    for direction in (1, -1):
        path = torch.zeros_like(like[:, :2])
        for distance in range(1, max(reach, default=0) + 1):
            at = centre + direction * distance
            if not 0 <= at <= len(motions):
                break
            motion = motions[min(at, at - direction)]
            path = path + warp(motion.forward if direction > 0 else motion.backward, path)
            if distance in reach:
                paths[at] = path
    return paths


def _disagreement(here: FilledFrame, others: Sequence[FilledFrame], paths: Tensor) -> Tensor:
    """Return how much the background differs after the motion, also in holes, `[K, 1, h, w]`.

    `paths` is the flow `[K, 2, h, w]` to each of the K other frames.
    """
    pictures = torch.cat([torch.cat([o.thumbnail, o.background], dim=1) for o in others])
    moved = warp(pictures, paths)  # [K, 4, h, w]
    difference = (moved[:, :3] - here.thumbnail).abs().mean(1, keepdim=True)  # [K, 1, h, w]
    return pull_push(difference, (here.background * moved[:, 3:]).clamp(min=1e-4))


def _look_up(here: FilledFrame, there: FilledFrame, guide: Tensor) -> tuple[Tensor, Tensor]:
    """Return the colours of `there` for `here`'s hole pixels `[3, N]`, and their trust `[1, N]`.

    `guide` `[1, 3, h, w]` holds the path and the disagreement.
    """
    row, column = here.holes  # [N] each
    height, width = here.warped.shape[-2:]
    grid_height, grid_width = guide.shape[-2:]

    def points(x: Tensor, y: Tensor) -> Tensor:  # [N] each -> [1, 1, N, 2] in [-1, 1]
        return torch.stack([(x + 0.5) * 2 / width - 1, (y + 0.5) * 2 / height - 1], -1)[None, None]

    dx, dy, error = _sample(guide, points(column.float(), row.float()))  # [N] each
    goal = points(column + dx * (width / grid_width), row + dy * (height / grid_height))
    inside = (goal.abs() <= 1).all(-1)[0, 0]  # [N] bool
    missing = _sample(there.mask, goal)[0]  # [N]
    revealed = missing < 0.01  # [N] bool
    if there.disparity is not None:
        revealed &= _sample(there.disparity, goal)[0] < here.threshold
    worth = torch.where(revealed, REVEALED, GUESSED)  # [N]
    worth = worth * (revealed | (missing > 0.99))  # not the foreground, nor a hole's border
    trust = torch.exp(-((error / COLOUR_TOLERANCE) ** 2)) * worth * inside  # [N]
    return _sample(there.video, goal), trust[None]


def _sample(image: Tensor, points: Tensor) -> Tensor:
    """Sample `[1, C, h, w]` at `[1, 1, N, 2]` in [-1, 1]; return `[C, N]`."""
    return F.grid_sample(image, points, padding_mode="border", align_corners=False)[0, :, 0]
