"""Write a prompt's umT5 embedding to a file, so that no text encoder is needed at run time.

python training/encode_prompt.py "PROMPT" --encoder google/umt5-xxl --output context.safetensors

The encoder is a Hugging Face name or a folder: umT5 itself, or a whole Wan model in diffusers'
layout such as Wan-AI/Wan2.1-T2V-1.3B-Diffusers. The file holds `context`, `[1, L, 4096]` without
the zeros that fill it up to 512 tokens; the loader adds those.
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import html
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import file_exists
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoTokenizer, UMT5EncoderModel

MAX_TOKENS = 512
FOLDERS = ("tokenizer", "text_encoder")  # in diffusers' layout


def main() -> None:
    """Encode the prompt and write the file."""
    parser = argparse.ArgumentParser(description="Write a prompt's umT5 embedding to a file.")
    parser.add_argument("prompt")
    parser.add_argument("--encoder", required=True, help="name on the Hugging Face hub, or folder")
    parser.add_argument("--output", type=Path, required=True, help="the safetensors file")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    context = encode_prompt(options.prompt, options.encoder, device=options.device)
    save_context(options.output, context, options.prompt)
    print(f"{options.output}: {context.shape[1]} tokens of width {context.shape[2]}")


@torch.inference_mode()
def encode_prompt(
    prompt: str,
    encoder: str,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.bfloat16,
) -> Tensor:
    """Return the embedding `[1, L, width]` float32, without padding.

    Args:
        prompt: any text; HTML entities and runs of blanks are cleaned as Wan does.
        encoder: a name on the Hugging Face hub, or a folder.
        device: where to run.
        dtype: of the weights; Wan's are bfloat16.

    Raises:
        OSError: there is no such encoder.
        ValueError: the prompt has more than 512 tokens.
    """
    where = ("", "")
    if _has(encoder, f"{FOLDERS[1]}/config.json"):
        where = FOLDERS
    tokenizer = AutoTokenizer.from_pretrained(encoder, subfolder=where[0])
    # Without padding there is nothing to mask: the real tokens come out the same.
    ids = tokenizer(clean(prompt), return_tensors="pt").input_ids
    if ids.shape[1] > MAX_TOKENS:
        raise ValueError(f"prompt: expected at most {MAX_TOKENS} tokens, got {ids.shape[1]}")
    model: Any = UMT5EncoderModel.from_pretrained(encoder, subfolder=where[1], torch_dtype=dtype)
    model = model.eval().to(device)
    return model(input_ids=ids.to(device)).last_hidden_state.float().cpu()


def clean(prompt: str) -> str:
    """Resolve HTML entities (twice, as some captions need) and join runs of blanks."""
    return " ".join(html.unescape(html.unescape(prompt)).split())


def save_context(path: Path, context: Tensor, prompt: str) -> None:
    """Write `context` with the prompt in the metadata."""
    save_file({"context": context.contiguous()}, path, metadata={"format": "pt", "prompt": prompt})


def _has(encoder: str, name: str) -> bool:
    folder = Path(encoder)
    return (folder / name).exists() if folder.exists() else file_exists(encoder, name)


if __name__ == "__main__":
    main()
