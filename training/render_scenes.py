"""Render random scenes with exact inverse depth, the small depth network's training data.

    python training/render_scenes.py OUT --meshes FILE.sh3f... --photos FOLDER [--views 12000]
        [--seed 0] [--size 384x224] [--kind close]

OUT gets shards of pictures and 16-bit inverse depth. The same call goes on where a run has stopped;
each view depends on the seed and its number alone. Evaluation takes another seed.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data.depth_shards import SHARD_VIEWS, DepthView, DepthWriter
from data.files import DataError
from data.sizes import read_size
from engine.settings import load_settings
from making.media import TABLE, Media
from scenes.meshes import MeshFiles
from scenes.props import Props
from scenes.random_scenes import KINDS, random_scene
from scenes.renderer import SceneRenderer
from scenes.textures import build_textures

LEAST_RATIO = 1.6
"""Of the nearer to the farther parts (90th to 10th percentile); flatter views are drawn again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Render what is not there yet; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        props = load_props(options.meshes, options.photos, options.seed)
        render(props, options.out, options.views, options.seed, options.size, options.kind)
    except (DataError, ValueError, OSError) as error:
        print(f"render_scenes: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def load_props(libraries: Sequence[Path], photos: Path, seed: int) -> Props:
    """Read the meshes and draw the textures; the evaluation's photographs stay out.

    Raises:
        DataError: there is no photograph, or a library is none.
    """
    held_out = load_settings(Media, TABLE).held_out
    pictures = [p for p in sorted(photos.glob("*.jpg")) if p.name not in held_out]
    if not pictures:
        raise DataError(f"{photos}: expected photographs, *.jpg, there is none")
    textures = build_textures(pictures, seed)
    files, meshes = MeshFiles([]), []
    for library in libraries:
        meshes += files.read(library)
    layers = np.array([*(textures.add("mesh", image) for image in files.textures), 0])
    for mesh in meshes:
        own = mesh.vertices[:, 8].astype(int)
        mesh.vertices[:, 8] = np.where(own >= 0, layers[own], -1)
    return Props(meshes, textures)


def render(
    props: Props,
    folder: Path,
    views: int,
    seed: int,
    size: tuple[int, int],
    kind: str | None = None,
) -> None:
    """Write the views that `folder` does not have yet.

    Raises:
        DataError: OpenGL is not there, or the disk takes no more.
    """
    writer = DepthWriter(folder)
    renderer = SceneRenderer(props.meshes, props.textures, (2 * size[0], 2 * size[1]))
    for i in tqdm(range(writer.shards * SHARD_VIEWS, views)):
        writer.add(render_view(props, renderer, [seed, i], kind))
    writer.flush()


def render_view(
    props: Props, renderer: SceneRenderer, seed: list[int], kind: str | None = None
) -> DepthView:
    """Draw scenes until one has both near and far parts; return its picture at half size."""
    rng = np.random.default_rng(seed)
    while True:
        scene = random_scene(props, rng, kind)
        picture, inverse = renderer.render(scene)
        far, near = np.quantile(inverse[::8, ::8], (0.1, 0.9))
        if near > LEAST_RATIO * far:
            break
    w, h = renderer.size[0] // 2, renderer.size[1] // 2
    small = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32)
    # Exposed as a camera does: pictures of dark scenes are not dark.
    gain = rng.uniform(60, 150) / max(8.0, float(small.mean()))
    small = 255 * (1 - np.exp(-small * gain / 255 * 1.3)) if gain > 1 else small * gain
    inverse = inverse[::2, ::2]
    if scene.aperture:
        small = defocus(small, inverse, scene.aperture * w / 384, rng)
    return DepthView(small.clip(0, 255).astype(np.uint8), inverse)


def defocus(
    picture: np.ndarray, inverse_depth: np.ndarray, aperture: float, rng: np.random.Generator
) -> np.ndarray:
    """Blur `[h, w, 3]` where it is far from a focus on one of the nearer things."""
    focus = np.quantile(inverse_depth, rng.uniform(0.5, 0.95))
    radius = (aperture * np.abs(inverse_depth - focus)).astype(np.float32)
    # A border's blur is that of its surroundings, not one that ends at the pixel.
    radius = cv2.GaussianBlur(radius, (0, 0), 1.5)[..., None].clip(0, 7.9)
    levels = [picture, *(cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in (1, 2, 4, 8))]
    steps = (0.0, 1.0, 2.0, 4.0, 8.0)
    result = picture
    for before, after, low, high in zip(levels, levels[1:], steps, steps[1:], strict=False):
        share = ((radius - low) / (high - low)).clip(0, 1)
        result = np.where(radius > low, before + (after - before) * share, result)
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Render random scenes with exact inverse depth.")
    add = parser.add_argument
    add("out", type=Path, help="folder of the shards")
    add("--meshes", type=Path, nargs="+", default=[], help="furniture libraries, .sh3f")
    add("--photos", type=Path, required=True, help="folder of photographs, *.jpg")
    add("--views", type=int, default=12000)
    add("--seed", type=int, default=0)
    add("--kind", choices=sorted(KINDS), help="of scene (default: all but close)")
    add("--size", type=read_size, default=(384, 224), metavar="WxH")
    return parser


if __name__ == "__main__":
    sys.exit(main())
