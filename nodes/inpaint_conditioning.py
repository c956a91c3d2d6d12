"""What a native Wan inpainting model is told: the masked video and where its holes are."""

import comfy.model_management
import node_helpers
import torch
from comfy.sd import VAE
from comfy_api.latest import io
from torch import Tensor

from ..dreamstereo_core.checks import check_frames
from ..dreamstereo_core.fill.holes import GREY, fill_narrow, pad_to_tokens
from ..dreamstereo_core.models.conditioning import FRAMES, missing_channels
from .layout import from_video, to_occlusion_mask, to_video
from .sparse_patch import narrow_input
from .wire_types import WAN, schema


class InpaintConditioning(io.ComfyNode):
    """Puts a masked video of any mask into Wan's conditioning."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the form."""
        return schema(
            "InpaintConditioning",
            display_name="Inpaint Conditioning (Wan)",
            description=(
                "Tells a Wan inpainting model (Fun-InP) the video and its holes, frame by frame. "
                "For KSampler, with or without Sparse Tokens (Wan)."
            ),
            room=WAN,
            aliases=("wan", "fun inp", "video inpainting"),
            inputs=[
                io.Conditioning.Input("positive", tooltip="From CLIP Text Encode."),
                io.Conditioning.Input("negative", tooltip="From CLIP Text Encode."),
                io.Vae.Input("vae", tooltip="Wan 2.1's VAE, from Load VAE."),
                io.Image.Input("images", tooltip="The frames with holes, such as the warped ones."),
                io.Mask.Input("mask", tooltip="1 = hole: a mask for each frame, or one for all."),
                narrow_input(),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="For KSampler."),
                io.Conditioning.Output(display_name="negative", tooltip="For KSampler."),
                io.Latent.Output(display_name="latent", tooltip="Empty, for KSampler."),
            ],
        )

    @classmethod
    def execute(
        cls, positive: list, negative: list, vae: VAE, images: Tensor, mask: Tensor, narrow: int
    ) -> io.NodeOutput:
        """Encode the clip, filled up to 4n + 1 frames and whole tokens by its last ones."""
        video, holes = to_video(images), to_occlusion_mask(mask)
        if len(holes) == 1:
            holes = holes.expand(len(video), -1, -1, -1)
        check_frames("mask", holes, channels=1, like=video)
        video, holes = fill_narrow(video, holes, narrow)
        video, holes = fill_up(video), fill_up(holes)
        missing = missing_channels(holes.movedim(1, 0).unsqueeze(0))  # [1, 4, T', H', W']
        masked = torch.where(holes > 0, GREY, video)
        values = {
            "concat_latent_image": vae.encode(from_video(masked)),
            "concat_mask": missing,  # WAN21.concat_cond turns it into Wan's "1 = known"
        }
        empty = torch.zeros(
            1, 16, *missing.shape[2:], device=comfy.model_management.intermediate_device()
        )
        return io.NodeOutput(
            node_helpers.conditioning_set_values(positive, values),
            node_helpers.conditioning_set_values(negative, values),
            {"samples": empty},
        )


def fill_up(video: Tensor) -> Tensor:
    """Repeat the last frame, row and column of `[T, C, H, W]` up to whole tokens."""
    frames = len(video)
    return pad_to_tokens(video[[min(t, frames - 1) for t in range(frames + (1 - frames) % FRAMES)]])
