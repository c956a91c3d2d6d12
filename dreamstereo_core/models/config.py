"""The transformers that there are, as values."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from .files.stored_config import check_sizes, read_config

PATCH = (1, 2, 2)
"""Latents in a token: time, height, width."""
LATENT_CHANNELS = 16
MASK_CHANNELS = 4
"""One for each of the 4 frames of a latent."""
INPAINTING_CHANNELS = 2 * LATENT_CHANNELS + MASK_CHANNELS
"""Noise 16, mask 4, masked latents 16."""
WAN_SPACE = "wan2.1"
"""The name of Wan 2.1's latent space, which its autoencoder and those distilled from it share."""
LONGEST_CONTEXT = 8192
"""Tokens; Wan's has 512."""


@dataclass(frozen=True)
class TransformerConfig:
    """The sizes of a Wan-class transformer."""

    in_dim: int
    dim: int
    ffn_dim: int
    num_heads: int
    num_layers: int
    out_dim: int = LATENT_CHANNELS
    freq_dim: int = 256
    """Width of the sinusoid of the timestep."""
    cross_attention: bool = True
    text_dim: int = 4096
    """Width of the context (umT5-xxl)."""
    text_len: int = 512
    """Tokens of the context; a shorter one is padded with zeros."""
    image_dim: int | None = None
    """Width of the CLIP features where the model has the image branch."""
    learned_context: bool = False
    """The context is a tensor of the checkpoint, `[1, text_len, text_dim]`."""
    eps: float = 1e-6
    latent_space: str = WAN_SPACE
    """Name of the latents' space on which it was trained; an autoencoder's must be the same."""

    def __post_init__(self):
        names = ("in_dim", "dim", "ffn_dim", "num_heads", "num_layers", "out_dim", "text_dim")
        check_sizes({name: getattr(self, name) for name in (*names, "image_dim")})
        check_sizes({"freq_dim": self.freq_dim}, least=2)
        check_sizes({"text_len": self.text_len}, most=LONGEST_CONTEXT)
        if not 0 < self.eps < 1:
            raise ValueError(f"eps: expected a number between 0 and 1, got {self.eps:g}")
        if self.dim % self.num_heads or self.head_dim % 2:
            raise ValueError(
                f"TransformerConfig: expected dim / num_heads to be an even number, got "
                f"{self.dim} / {self.num_heads}"
            )
        if not self.cross_attention and (self.image_dim or self.learned_context):
            raise ValueError(
                "TransformerConfig: image_dim and learned_context need cross_attention=True"
            )

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.num_heads

    @property
    def is_inpainting(self) -> bool:
        """Whether the input is noise, mask and masked latents."""
        return self.in_dim == 2 * self.out_dim + MASK_CHANNELS

    def to_json(self) -> str:
        """Return the config as a JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TransformerConfig:
        """Read what `to_json` wrote.

        Raises:
            ValueError: the text is no JSON object with the fields of a config, or one of them has
                another type or a size that no model has.
        """
        return read_config(cls, text)


WAN_T2V_1_3B = TransformerConfig(
    in_dim=LATENT_CHANNELS, dim=1536, ffn_dim=8960, num_heads=12, num_layers=30
)
"""Wan-AI/Wan2.1-T2V-1.3B."""
WAN_FUN_INP_1_3B = replace(WAN_T2V_1_3B, in_dim=INPAINTING_CHANNELS, image_dim=1280)
"""alibaba-pai/Wan2.1-Fun-V1.1-1.3B-InP; DreamStereo feeds zeros to its CLIP branch."""
DREAMSTEREO_1_3B = replace(WAN_T2V_1_3B, in_dim=INPAINTING_CHANNELS, learned_context=True)
"""Wan2.1-T2V-1.3B with the patch embedding widened (paper, Sec. 3.3); needs no text encoder."""

TRANSFORMERS = {
    "wan2.1-t2v-1.3b": WAN_T2V_1_3B,
    "wan2.1-fun-inp-1.3b": WAN_FUN_INP_1_3B,
    "dreamstereo-1.3b": DREAMSTEREO_1_3B,
}
