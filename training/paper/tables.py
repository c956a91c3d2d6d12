"""What the paper's tables say (arXiv 2604.12270), and what it leaves to be inferred."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

COLUMNS = {
    "psnr_full": ("PSNR", 2, 1),
    "ssim_full": ("SSIM", 3, 1),
    "lpips_full": ("LPIPS", 3, 1),
    "st_lpips_full": ("ST-LPIPS", 4, 1),
    "tokens_kept": ("r, %", 1, 100),
    "ms_frame": ("ms a frame", 1, 1),
    "ms_dit": ("DiT, ms a frame", 1, 1),
    "ms_vae": ("VAE, ms a frame", 1, 1),
    "parameters": ("parameters, M", 1, 1e-6),
    "ms_encode": ("encoder, ms a frame", 1, 1),
    "ms_decode": ("decoder, ms a frame", 1, 1),
    "ms_both": ("total", 1, 1),
    "abs_rel": ("AbsRel", 3, 1),
    "delta_105": ("delta < 1.05", 3, 1),
}
"""Title, decimals and factor of each measure."""
QUALITY = ("psnr_full", "ssim_full", "lpips_full")
HD_100 = (
    "HD-100 is not public: any folder of 100 films of 81 frames and more stands for it, so figures "
    "are of the same kind, not of the same clips"
)
DEPTH = "the depth estimator of HD-100 is not named: --depth"
METRICS = (
    "PSNR is of a clip's pixels together, SSIM has a Gaussian window of 11, LPIPS is AlexNet's, "
    "and all frames count unless --perceptual-frames says fewer"
)
UNBLENDED = (
    "the network's frames before the last blend, as Table 5's .07 equals Table 1's unblended"
)
MASKS = "the convergence of the holes is 0.5, and near things grow by width / 640 px"


@dataclass(frozen=True)
class PaperTable:
    """A table or figure."""

    title: str
    columns: tuple[str, ...]
    parts: Mapping[str, Mapping[str, tuple[float, ...]]]
    """Part -> row -> its values, in the columns' order; NaN where there is none."""
    inferred: tuple[str, ...] = ()
    """What the paper does not say and is assumed here."""


_NONE = math.nan
_HD = (HD_100, DEPTH, MASKS, METRICS)

TABLES: dict[str, PaperTable] = {
    "table1": PaperTable(
        "Table 1: HD-100, 1280x768, one step; latency on an A100",
        (*QUALITY, "ms_frame"),
        {
            "HD-100": {
                "ProPainter": (28.30, 0.927, 0.052, 668.1),
                "VACE-1.3B": (25.38, 0.859, 0.095, 2779.1),
                "ZeroStereo (8 steps)": (19.12, 0.676, 0.189, 506.0),
                "ZeroStereo (50 steps)": (24.73, 0.771, 0.094, 2024.7),
                "StereoCrafter": (23.99, 0.782, 0.142, 716.5),
                "Ours": (30.48, 0.900, 0.053, 40.1),
                "Ours (blended)": (32.65, 0.948, 0.026, 40.1),
            }
        },
        (*_HD, "dilation 5; latency is DiT and autoencoder with all that is between them"),
    ),
    "table2": PaperTable(
        "Table 2: stereo videos with true right views, one step",
        QUALITY,
        {
            "Dynamic Replica": {
                "Deep3D": (17.11, 0.711, 0.252),
                "Depthify.ai": (18.29, 0.727, 0.191),
                "Owl3D": (17.87, 0.726, 0.209),
                "StereoCrafter": (17.93, 0.737, 0.226),
                "ZeroStereo (50 steps)": (23.08, 0.872, 0.105),
                "Ours": (29.12, 0.920, 0.063),
                "Ours (blended)": (29.17, 0.922, 0.057),
            },
            "SVD-AVP": {
                "Deep3D": (19.32, 0.590, 0.224),
                "Depthify.ai": (20.70, 0.617, 0.190),
                "Owl3D": (19.99, 0.615, 0.214),
                "StereoCrafter": (24.68, 0.752, 0.199),
                "ZeroStereo (50 steps)": (23.81, 0.725, 0.148),
                "Ours": (24.88, 0.776, 0.131),
                "Ours (blended)": (25.30, 0.793, 0.113),
            },
        },
        (
            "the sizes are those of Figures 13 and 14: 1280x720, for SVD-AVP 768x768",
            "which 20 samples, and from which frame on, is not said: the first ones, from frame 0",
            "the stereo matcher of SVD-AVP is a network (the paper's [33]); --match is semi-global "
            "matching, or give its disparity as files",
            "unknown disparities take the farther end of their row's gap",
            METRICS,
        ),
    ),
    "table3": PaperTable(
        "Table 3: the training's holes; 1024x576, 8 steps, dense, Wan's autoencoder",
        QUALITY,
        {
            "HD-100": {
                "Random Mask": (26.64, 0.906, 0.092),
                "TrajectoryCrafter": (31.14, 0.923, 0.047),
                "Ours": (32.48, 0.933, 0.049),
            }
        },
        (
            *_HD,
            UNBLENDED,
            "the schedule's shift is 5, as Wan's",
            "pairs by build_pairs.py --warp random, forward and gapw: the same clips, other holes; "
            "a forward-warped point covers the two pixels it lies between, the nearest is seen",
        ),
    ),
    "table4": PaperTable(
        "Table 4: tokens kept; 1024x576, 4 steps; latency of the DiT alone on an A100",
        (*QUALITY, "tokens_kept", "ms_dit"),
        {
            "HD-100": {
                "dense": (32.48, 0.933, 0.049, 1.0, 380.9),
                "not dilated": (29.84, 0.916, 0.063, 0.137, 18.51),
                "dilated 3": (32.01, 0.931, 0.051, 0.256, 35.7),
                "dilated 3, stride 20": (32.10, 0.931, 0.050, 0.294, 44.8),
                "dilated 3, stride 10": (32.16, 0.931, 0.050, 0.332, 54.8),
                "dilated 5": (32.31, 0.932, 0.050, 0.361, 58.4),
                "dilated 5, stride 20": (32.34, 0.932, 0.050, 0.394, 68.6),
                "dilated 5, stride 10": (32.36, 0.932, 0.050, 0.427, 78.2),
            }
        },
        (
            *_HD,
            UNBLENDED,
            "the dilation counts tokens of 16 px, not latents",
            "a stride of 20 keeps latent frame 0 whole, 10 keeps 0 and 10, which the shares r say",
            "the autoencoder is Wan's (--vae), since 32.48 dense is Table 3's",
        ),
    ),
    "table5": PaperTable(
        "Table 5: maximum disparity; HD-100, 1280x768, one step",
        QUALITY,
        {
            "HD-100": {
                "0.02": (32.18, 0.915, 0.043),
                "0.05": (32.16, 0.905, 0.049),
                "0.07": (30.48, 0.900, 0.053),
                "0.08": (29.91, 0.895, 0.058),
            }
        },
        (*_HD, UNBLENDED, "a part of the width"),
    ),
    "table6": PaperTable(
        "Table 6: the autoencoder within the whole; HD-100, 1280x768, one step",
        QUALITY,
        {
            "HD-100": {
                "WanVAE": (30.59, 0.906, 0.040),
                "Distilled (Ours)": (30.48, 0.900, 0.053),
            }
        },
        (*_HD, UNBLENDED),
    ),
    "table7": PaperTable(
        "Table 7: the autoencoders alone, 1024x1024; latency on an A100",
        ("parameters", "ms_encode", "ms_decode", "ms_both"),
        {
            "1024x1024": {
                "WanVAE": (126.8e6, 47.7, 75.0, 122.7),
                "Distilled (Ours)": (80.2e6, 9.3, 18.5, 27.8),
            }
        },
        (
            "ms are those of a frame amid a video, of four frames at once",
            "the distilled architecture is not given: ours has this table's ratios of operations",
            "weights are random: neither parameters nor time depend on them",
        ),
    ),
    "table8": PaperTable(
        "Table 8: tokens left out in training too; 1024x576, 4 steps",
        QUALITY,
        {
            "HD-100": {
                "No (dense training)": (32.48, 0.933, 0.049),
                "Yes (sparse training)": (32.31, 0.932, 0.050),
            }
        },
        (
            *_HD,
            UNBLENDED,
            "size, steps and dilation are not said: Table 4's, both rows sparse at inference (5); "
            "the paper's two rows equal Table 4's dense and dilated 5, so it may have meant these",
            "sparse training: --set lora.flow.sparse=1",
        ),
    ),
    "table9": PaperTable(
        "Table 9: is the made pair's depth right? Dynamic Replica",
        ("abs_rel", "delta_105"),
        {
            "Dynamic Replica": {
                "Deep3D": (0.029, 0.847),
                "Depthify.ai": (0.035, 0.770),
                "Owl3D": (0.042, 0.716),
                "StereoCrafter": (0.039, 0.751),
                "ZeroStereo (50 steps)": (0.018, 0.929),
                "Ours (blended)": (0.019, 0.914),
            }
        },
        (
            "how the pair is matched is not said: semi-global matching both ways, where it is sure",
            "scale and shift are fitted to the true disparity, over a clip; depth is its inverse",
            "whether the paper's pair was blended is not said",
            "the true pair, matched in the same way, is the most that can be reached",
        ),
    ),
    "figure7": PaperTable(
        "Figure 7: three maximum disparities, and the disparity of the made pair",
        (),
        {},
        ("the three are not said: 2, 5 and 8 %", "the pair is matched as in Table 9"),
    ),
    "figure8": PaperTable("Figure 8: the pipeline's pictures of one clip", (), {}),
    "figure9": PaperTable(
        "Figure 9: where the time goes; 1280x768, one step, on an A100",
        ("ms_vae", "ms_dit", "ms_frame"),
        {
            "HD-100": {
                "dense, WanVAE": (155.0, 95.0, 250.0),
                "sparse, distilled (Ours)": (25.0, 15.0, 40.0),
                "less by, %": (83.9, 84.2, 84.0),
            }
        },
        (
            "depth and warping are not in it",
            "the total also has what lies between (masks, the blend of latents)",
            "one clip, after one to warm up",
        ),
    ),
    "figure13": PaperTable(
        "Figures 13 and 14: the first scene of each set, and where it is wrong",
        (),
        {},
        ("the scale of the error's colours is not said: red is a squared error of .02",),
    ),
}
