"""A diffusion inpainter from the model folders, in the stages and in the streaming node."""

import numpy as np
import pytest
from PIL import Image

from .media import describe, write_film
from .models import write_models
from .test_convert import prompt_for


@pytest.fixture(scope="module")
def choices(comfy):
    return write_models(comfy.base / "models")


@pytest.fixture(scope="module")
def film(comfy):
    path = comfy.base / "input" / "diffusion.mp4"
    return write_film(path, frames=6, width=64, height=48).name


def loader(choices: dict, **settings) -> dict:
    inputs = choices | {"lora": "none", "lora_strength": 1.0} | settings
    return {"class_type": "DreamStereoLoadModel", "inputs": inputs}


def stages(film: str, load: dict, **inpaint) -> dict:
    """Load Video -> depth -> disparity -> warp -> inpaint -> blend -> Save Image."""
    return {
        "1": {"class_type": "LoadVideo", "inputs": {"file": film}},
        "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
        "3": {"class_type": "DreamStereoEstimateDepth", "inputs": {"images": ["2", 0]}},
        "4": {
            "class_type": "DreamStereoDisparity",
            "inputs": {
                "inverse_depth": ["3", 0],
                "max_disparity": 10.0,
                "convergence_mode": "manual",
                "convergence": 0.5,
                "max_front": 10.0,
                "max_behind": 10.0,
                "foreground_dilation": 0,
            },
        },
        "5": {
            "class_type": "DreamStereoWarp",
            "inputs": {
                "images": ["2", 0],
                "disparity": ["4", 0],
                "eye": "right",
                "stretch_threshold": 1.5,
            },
        },
        "6": load,
        "7": {
            "class_type": "DreamStereoInpaint",
            "inputs": {
                "warped": ["5", 0],
                "mask": ["5", 1],
                "warped_disparity": ["5", 2],
                "inpainter": ["6", 0],
            }
            | inpaint,
        },
        "8": {
            "class_type": "DreamStereoBlend",
            "inputs": {"inpainted": ["7", 0], "warped": ["5", 0], "mask": ["5", 1], "feather": 0},
        },
        "9": _save(["8", 0], "blended"),
        "10": _save(["5", 0], "warped"),
        "11": {"class_type": "MaskToImage", "inputs": {"mask": ["5", 1]}},
        "12": _save(["11", 0], "mask"),
    }


def _save(images: list, name: str) -> dict:
    return {
        "class_type": "SaveImage",
        "inputs": {"images": images, "filename_prefix": f"diffusion/{name}"},
    }


def pictures(comfy, run, node: str) -> np.ndarray:
    """What a Save Image node wrote, `[T, H, W, 3]`."""
    run.check_success()
    files = run.outputs[node]["images"]
    return np.stack([np.asarray(Image.open(comfy.output_path(file))) for file in files])


def test_the_stages_fill_the_holes_and_nothing_else(comfy, choices, film):
    run = comfy.run(stages(film, loader(choices), num_steps=2, dilation=3, seed=1))
    blended, warped, mask = (pictures(comfy, run, node) for node in ("9", "10", "12"))
    holes = mask > 0
    assert blended.shape == (6, 48, 64, 3)
    assert holes.any() and not holes.all()
    assert np.array_equal(blended[~holes], warped[~holes])
    assert np.abs(blended[holes].astype(int) - warped[holes]).mean() > 1


def test_seed_and_lora_change_what_is_made(comfy, choices, film):
    results = [
        pictures(comfy, comfy.run(stages(film, loader(choices, **load), seed=seed)), "9")
        for load, seed in (({}, 0), ({}, 1), ({"lora": choices["lora"]}, 0))
    ]
    assert not np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@pytest.mark.parametrize("eye", ["right", "left"])
def test_the_streaming_node_takes_it(comfy, choices, film, eye):
    prompt = prompt_for(film, eye=eye, inpainter=["4", 0], num_steps=1, dilation=1, seed=3)
    run = comfy.run(prompt | {"4": loader(choices)})
    run.check_success()
    made = describe(comfy.output_path(run.outputs["3"]["images"][0]))
    assert made["size"] == (128, 48)
    assert made["frames"] == 6


def test_the_lists_show_the_folders(comfy, choices):
    info = comfy.object_info()["DreamStereoLoadModel"]["input"]["required"]
    for name in ("diffusion_model", "vae", "lora"):
        assert choices[name] in info[name][1]["options"]


def test_an_error_names_the_file(comfy, choices, film):
    models = comfy.base / "models"
    wrong = models / "diffusion_models" / "really_a_vae.safetensors"
    wrong.write_bytes((models / "vae" / choices["vae"]).read_bytes())
    run = comfy.run(stages(film, loader(choices, diffusion_model=wrong.name)))
    assert run.end == "execution_error"
    assert wrong.name in run.error
    assert "expected a Wan transformer" in run.error
