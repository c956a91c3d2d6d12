"""The GPU's warp compiles for a card, which needs no card."""

import importlib

import pytest

triton = pytest.importorskip("triton", reason="Triton is not made for this platform")


@pytest.mark.parametrize(("channels", "dtype", "height"), [(3, "fp16", "i32"), (0, "fp32", 1)])
def test_the_kernel_compiles_for_an_h100(monkeypatch, channels, dtype, height):
    """For colours, and for the disparity alone; Triton takes a height of 1 for a constant."""
    backend = pytest.importorskip("triton.backends.compiler")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
    module = importlib.reload(importlib.import_module("dreamstereo_core.gapw_triton"))
    kernel = module._warp_pixels
    constants = {"CHANNELS": channels, "CUBIC": True, "MIRROR": True, "BLOCK": 128}
    constants |= {} if height == "i32" else {"height": height}
    kinds = {"height": "i32", "width": "i32", "video": f"*{dtype}", "disparity": f"*{dtype}"}
    kinds |= {name: "fp32" for name in ("threshold", "level", "nearer")}
    kinds |= {name: "constexpr" for name in constants}
    signature = {name: kinds.get(name, "*fp32") for name in kernel.arg_names}
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = triton.compiler.ASTSource(kernel, signature, places)
    compiled = triton.compile(source, target=backend.GPUTarget("cuda", 90, 32))
    assert len(compiled.asm["cubin"]) > 1000
