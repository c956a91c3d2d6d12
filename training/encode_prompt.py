"""Write a prompt's umT5 embedding to a file, so that no text encoder is needed at run time.

python training/encode_prompt.py "PROMPT" --encoder google/umt5-xxl --output context.safetensors
python training/encode_prompt.py --table captions.tsv --encoder google/umt5-xxl --output FILE

The encoder is a Hugging Face name or a folder: umT5 itself, or a whole Wan model in diffusers'
layout such as Wan-AI/Wan2.1-T2V-1.3B-Diffusers. The file holds `context`, `[1, L, 4096]` without
the zeros that fill it up to 512 tokens; the loader adds those. A table has lines of a clip's file
name, a tab, and its caption; its file holds `[L, 4096]` for each name (train_lora.py's captions).
"""

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

import argparse
import html
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import file_exists
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoTokenizer, UMT5EncoderModel

from data.captions import read_table, write_captions
from data.files import DataError

MAX_TOKENS = 512
FOLDERS = ("tokenizer", "text_encoder")  # in diffusers' layout


def main() -> int:
    """Encode the prompt or the table and write the file; return 0, or 1 with a line why not."""
    parser = argparse.ArgumentParser(description="Write a prompt's umT5 embedding to a file.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("prompt", nargs="?")
    what.add_argument("--table", type=Path, metavar="TSV", help="of clips and their captions")
    parser.add_argument("--encoder", required=True, help="name on the Hugging Face hub, or folder")
    parser.add_argument("--output", type=Path, required=True, help="the safetensors file")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.table is None:
        context = encode_prompt(options.prompt, options.encoder, device=options.device)
        save_context(options.output, context, options.prompt)
        print(f"{options.output}: {context.shape[1]} tokens of width {context.shape[2]}")
        return 0
    try:
        table = read_table(options.table)
        found = encode_prompts(list(table.values()), options.encoder, device=options.device)
        write_captions(options.output, {n: x[0] for n, x in zip(table, found, strict=True)})
    except (DataError, OSError) as error:
        print(f"encode_prompt: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: {len(table)} captions")
    return 0


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
    return next(encode_prompts([prompt], encoder, device=device, dtype=dtype))


@torch.inference_mode()
def encode_prompts(
    prompts: Sequence[str],
    encoder: str,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.bfloat16,
) -> Iterator[Tensor]:
    """Yield the embedding of each prompt, as `encode_prompt` does, by one encoder."""
    where = ("", "")
    if _has(encoder, f"{FOLDERS[1]}/config.json"):
        where = FOLDERS
    tokenizer = AutoTokenizer.from_pretrained(encoder, subfolder=where[0])
    # Without padding there is nothing to mask: the real tokens come out the same.
    every = [tokenizer(clean(prompt), return_tensors="pt").input_ids for prompt in prompts]
    for ids in every:
        if ids.shape[1] > MAX_TOKENS:
            raise ValueError(f"prompt: expected at most {MAX_TOKENS} tokens, got {ids.shape[1]}")
    model: Any = UMT5EncoderModel.from_pretrained(encoder, subfolder=where[1], torch_dtype=dtype)
    model = model.eval().to(device)
    for ids in every:
        yield model(input_ids=ids.to(device)).last_hidden_state.float().cpu()


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
    sys.exit(main())
