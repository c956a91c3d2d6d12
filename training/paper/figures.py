"""The paper's figures: pictures, and where the time goes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from dreamstereo_core import blend
from evaluation.comparison import run_fill, time_fill
from evaluation.fills import DENSE
from evaluation.report import tile_row, write_grid
from evaluation.stereo_matching import match, reach_of
from evaluation.stereo_videos import to_bgr
from paper.session import HD, Rows, Session, both_autoencoders, stereo_sets

THREE = (2.0, 5.0, 8.0)
"""Maximum disparities of Figure 7, in percent."""
MOST_ERROR = 0.02
"""Squared error that is red."""


def figure7(session: Session) -> dict[str, Rows]:
    """Write one frame at three strengths: warped, filled, and the disparity of the made pair."""
    grid = []
    for percent in THREE:
        clip = next(session.films(HD, percent))
        middle = len(clip.truth) // 2
        tiles = {"warped": clip.warped}
        for name, fill in session.with_ours(1).items():
            made = blend(run_fill(fill, clip)[0], clip.warped, clip.mask, feather=0)
            tiles[name] = made
            seen = _right_disparity(clip.left[middle], made[middle], percent)
            tiles[f"{name}: disparity"] = seen.expand_as(made)
        grid.append(tile_row(f"{percent:g} %", tiles, _frame(middle)))
    return _write(session, "figure7.png", grid)


def figure8(session: Session) -> dict[str, Rows]:
    """Write the pictures of the first clip's middle frame: the warp's, then each fill's."""
    clip = next(session.films(HD))
    near = clip.disparity - clip.disparity.min()
    grid = [
        {
            "left": clip.left,
            "disparity": (near / near.max().clamp(min=1e-6)).expand_as(clip.left),
            "warped": clip.warped,
            "mask": clip.mask.expand_as(clip.left),
        }
    ]
    for name, fill in session.with_ours(1).items():
        finished, raw = run_fill(fill, clip)
        blended = blend(finished, clip.warped, clip.mask, feather=0)
        titles = (f"{name}: inpainted", f"{name}: blended", "truth")
        grid.append(dict(zip(titles, (raw, blended, clip.truth), strict=True)))
    frame = _frame(len(clip.truth) // 2)
    return _write(session, "figure8.png", [tile_row(clip.name, row, frame) for row in grid])


def figure9(session: Session) -> dict[str, Rows]:
    """The time of DiT and autoencoder, as a plain baseline has it and as ours."""
    model, small = both_autoencoders(session)
    fills = {
        "dense, WanVAE": session.fill(model, 1, DENSE),
        "sparse, distilled (Ours)": session.fill(small, 1),
    }
    clip = next(session.films(HD))
    rows: Rows = {}
    for name, fill in fills.items():
        run_fill(fill, clip)
        rows[name] = time_fill(fill, clip)[2]
    before, after = rows.values()
    rows["less by, %"] = {
        part: 100 * (1 - after[part] / before[part]) if before[part] else math.nan
        for part in before
    }
    return {"HD-100": rows}


def figure13(session: Session) -> dict[str, Rows]:
    """Write the first scene of each set of stereo videos, and below it where it is wrong."""
    grid = []
    for name, clips in stereo_sets(session).items():
        clip = next(clips)
        frame = _frame(len(clip.truth) // 2)
        made = {"truth": clip.truth}
        for row, fill in session.with_ours(1).items():
            made[row] = blend(run_fill(fill, clip)[0], clip.warped, clip.mask, feather=0)
        errors = {row: _heat(video[frame], clip.truth[frame]) for row, video in made.items()}
        grid.append(tile_row(f"{name}: {clip.name}", made, frame))
        grid.append(tile_row("squared error, blue to red", errors, _frame(0)))
    return _write(session, "figure13.png", grid)


def _write(session: Session, name: str, rows: Sequence[np.ndarray]) -> dict[str, Rows]:
    path = session.options.out / name
    write_grid(path, rows)
    session.notes.append(f"the pictures are in {path}")
    return {}


def _frame(number: int) -> tuple:
    return number, slice(None), slice(None), slice(None)


def _right_disparity(left: Tensor, right: Tensor, percent: float) -> Tensor:
    """Return the matched disparity of a right view `[3, H, W]`, `[1, 1, H, W]`, 1 = nearest.

    In the mirror the right view is the left one. Half of the disparities lie behind the screen, and
    are moved in front of it first. What is not sure is black.
    """
    half = math.ceil(percent / 200 * left.shape[-1]) + 1
    reach = reach_of(2 * half)
    views = [to_bgr(view) for view in (right.flip(-1), left.flip(-1).roll(-half, -1))]
    disparity = match(views[0], views[1], reach).flip(-1).nan_to_num(0.0)
    return disparity / disparity.max().clamp(min=1e-6)


def _heat(made: Tensor, truth: Tensor) -> Tensor:
    """Return the squared error of `[3, H, W]` as colours `[1, 3, H, W]`, from blue to red."""
    error = (made - truth).square().mean(0) / MOST_ERROR
    levels = (error.clamp(max=1) * 255).byte().numpy()
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_JET)[..., ::-1].copy()
    return torch.from_numpy(colours).permute(2, 0, 1)[None].float() / 255
