import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from encode_prompt import clean, encode_prompt, main

WORDS = ("<pad>", "</s>", "<unk>", "a", "clean", "background", "&")


@pytest.fixture
def encoder(tmp_path):
    """A tiny umT5 with random weights in its own layout."""
    tokens = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokens.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokens, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    torch.manual_seed(0)
    config = UMT5Config(
        vocab_size=len(WORDS), d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=3
    )
    model = UMT5EncoderModel(config).eval()
    folder = tmp_path / "umt5"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder, tokenizer, model


def test_the_file_holds_what_wan_computes(encoder, tmp_path, monkeypatch):
    """Wan pads to 512 tokens, masks, encodes, and cuts the padding off again."""
    folder, tokenizer, model = encoder
    prompt, output = "  a   clean\nbackground ", tmp_path / "context.safetensors"
    monkeypatch.setattr("sys.argv", ["", prompt, "--encoder", str(folder), "--output", str(output)])
    main()
    with safe_open(output, "pt") as file:
        context, metadata = file.get_tensor("context"), file.metadata()
    assert metadata["prompt"] == prompt
    assert context.dtype == torch.float32
    padded = tokenizer(clean(prompt), padding="max_length", max_length=512, return_tensors="pt")
    with torch.no_grad():
        expected = model(padded.input_ids, padded.attention_mask).last_hidden_state[:, :4]
    assert context.shape == (1, 4, 24)  # three words and the end
    assert (context - expected).abs().max() < 0.03 * expected.abs().max()  # bfloat16


def test_a_folder_in_diffusers_layout_gives_the_same(encoder, tmp_path):
    folder, tokenizer, model = encoder
    whole = tmp_path / "wan"
    model.save_pretrained(whole / "text_encoder")
    tokenizer.save_pretrained(whole / "tokenizer")
    ours = encode_prompt("a background", str(whole), dtype=torch.float32)
    assert torch.equal(ours, encode_prompt("a background", str(folder), dtype=torch.float32))


def test_a_prompt_is_cleaned():
    assert clean(" a &amp;amp;\t b\n\n c ") == "a & b c"


def test_a_long_prompt_is_an_error(encoder):
    with pytest.raises(ValueError, match="at most 512 tokens, got 513"):
        encode_prompt("a " * 512, str(encoder[0]))
