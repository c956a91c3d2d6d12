"""How each table is measured: which clips, which rows, by the evaluation's own functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.masks import Clip as BenchmarkClip
from benchmarks.vae import vae_report
from dreamstereo_core import blend
from dreamstereo_core.blend import DEFAULT_FEATHER
from dreamstereo_core.devices import choose_device
from evaluation.comparison import run_fill
from evaluation.fills import DENSE
from evaluation.geometry import geometry_scores
from evaluation.scores import Scores, mean_scores
from paper.figures import figure7, figure8, figure9, figure13
from paper.session import HD, SMALLER, Rows, Session, both_autoencoders, compare, stereo_sets
from paper.smoke import SMOKE_VAES


def table1(session: Session) -> dict[str, Rows]:
    """Ours and others on films."""
    return {"HD-100": compare(session, session.films(HD), session.with_ours(1), blended=True)}


def table2(session: Session) -> dict[str, Rows]:
    """Ours and others on stereo videos."""
    fills = session.with_ours(1)
    return {
        name: compare(session, clips, fills, blended=True)
        for name, clips in stereo_sets(session).items()
    }


def table3(session: Session) -> dict[str, Rows]:
    """Models trained on other holes, dense."""
    fills = {"Ours": session.fill(session.model(), 8, DENSE)}
    rows = getattr(session.options, "strategies", session.options.row)  # a trial trains its own
    for name, file in rows:
        fills[name] = session.fill(session.model(file), 8, DENSE)
    return {"HD-100": compare(session, session.films(SMALLER), fills)}


def table4(session: Session) -> dict[str, Rows]:
    """One model with more and fewer tokens."""
    model = session.model()
    fills = {"dense": session.fill(model, 4, DENSE)}
    for dilation, stride in ((1, None), *((k, s) for k in (3, 5) for s in (None, 20, 10))):
        name = "not dilated" if dilation == 1 else f"dilated {dilation}"
        name += f", stride {stride}" if stride else ""
        fills[name] = session.fill(replace(model, temporal_stride=stride), 4, dilation)
    return {"HD-100": compare(session, session.films(SMALLER), fills)}


def table5(session: Session) -> dict[str, Rows]:
    """Wider and narrower holes."""
    fills = session.with_ours(1)
    rows: Rows = {}
    for part in (0.02, 0.05, 0.07, 0.08):
        for name, scores in compare(session, session.films(HD, 100 * part), fills).items():
            rows[f"{part:.2f}" if name == "Ours" else f"{part:.2f}, {name}"] = scores
    return {"HD-100": rows}


def table6(session: Session) -> dict[str, Rows]:
    """Wan's autoencoder and the distilled one."""
    model, small = both_autoencoders(session)
    fills = {"WanVAE": session.fill(model, 1), "Distilled (Ours)": session.fill(small, 1)}
    return {"HD-100": compare(session, session.films(HD), fills)}


def table7(session: Session) -> dict[str, Rows]:
    """The autoencoders' parameters and time, by random weights."""
    smoke, device = session.options.smoke, choose_device("auto")
    width, height = (64, 64) if smoke else session.options.size or (1024, 1024)
    clip = BenchmarkClip(torch.zeros(1, 1, height, width))
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    configs = SMOKE_VAES if smoke else ("wan", "distilled")
    rows: Rows = {}
    records = vae_report(configs, clip, (), dtype, device, 1 if smoke else 5)
    for name, record in zip(("WanVAE", "Distilled (Ours)"), records, strict=True):
        encode, decode = (record["cases"][c]["ms_per_frame"] for c in ("encode", "decode"))
        rows[name] = {
            "parameters": float(record["parameters"]),
            "ms_encode": encode,
            "ms_decode": decode,
            "ms_both": encode + decode,
        }
    return {"1024x1024": rows}


def table8(session: Session) -> dict[str, Rows]:
    """A model that was trained on few tokens."""
    fills = {"No (dense training)": session.fill(session.model(), 4)}
    for name, file in session.options.row:
        fills[name] = session.fill(session.model(file), 4)
    return {"HD-100": compare(session, session.films(SMALLER), fills)}


def table9(session: Session) -> dict[str, Rows]:
    """The depth of made pairs."""
    fills = session.with_ours(1)
    feather = 0 if session.options.paper else DEFAULT_FEATHER
    parts: dict[str, Rows] = {}
    for part, clips in stereo_sets(session).items():
        found: dict[str, list[Scores]] = {}
        for clip in clips:
            assert clip.left_disparity is not None
            scores = geometry_scores(clip.left, clip.truth, clip.left_disparity)
            found.setdefault("(the true pair)", []).append(scores)
            for name, fill in fills.items():
                finished, _ = run_fill(fill, clip)
                made = blend(finished, clip.warped, clip.mask, feather=feather)
                scores = geometry_scores(clip.left, made, clip.left_disparity)
                found.setdefault(f"{name} (blended)", []).append(scores)
        parts[part] = {name: mean_scores(scores) for name, scores in found.items()}
    return parts


RECIPES: dict[str, Callable[[Session], dict[str, Rows]]] = {
    recipe.__name__: recipe
    for recipe in (
        *(table1, table2, table3, table4, table5, table6, table7, table8, table9),
        *(figure7, figure8, figure9, figure13),
    )
}
