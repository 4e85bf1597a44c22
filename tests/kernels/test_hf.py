"""Round trips through transformers' own save_pretrained and from_pretrained (where transformers is installed)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kernels import convert_linear, unconvert
from kernels.experiments import starts
from stl_algebra.errors import StlError

transformers = pytest.importorskip("transformers")
MIXING = starts.fourier(24, 0, tries=3)


def _small(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    size = {"vocab_size": 99}
    if kind == "bert":
        return transformers.BertModel(transformers.BertConfig(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48, **size))  # fmt: skip
    if kind == "gpt2":
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(
            n_embd=32, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0, **size))  # fmt: skip
    return transformers.T5ForConditionalGeneration(transformers.T5Config(
        d_model=32, d_kv=16, d_ff=48, num_layers=1, num_heads=2, **size))  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_bert_round_trip(dtype: torch.dtype, tmp_path: Path) -> None:
    import kernels.hf

    model, x = _small("bert").eval(), torch.randint(0, 99, (3, 16))
    convert_linear(model, MIXING)
    kernels.hf.mark(model).save_pretrained(tmp_path)
    other = transformers.AutoModel.from_pretrained(tmp_path, dtype=dtype).eval()
    layer = other.encoder.layer[0].output.dense
    assert layer.w_hat.dtype == dtype
    assert layer.e_x.dtype == torch.float32
    y, z = model(x)[0], other(x)[0].float()
    assert torch.equal(y, z) if dtype == torch.float32 else torch.allclose(y, z, atol=0.1)


def test_gpt2_is_causal_and_its_conv1d_layers_convert() -> None:
    model, x = _small("gpt2").eval(), torch.randint(0, 99, (3, 16))
    with pytest.raises(StlError, match="GPT2LMHeadModel"):
        convert_linear(model, MIXING)
    before = model(x).logits
    report = convert_linear(model, starts.exact(), example={"input_ids": x})
    assert "transformer.h.0.attn.c_attn" in report.converted
    assert dict(report.skipped)["lm_head"].endswith("transformer.wte.weight")
    assert report.leak is not None
    assert report.leak.is_causal
    assert torch.allclose(model(x).logits, before, atol=1e-5)


def test_t5_reads_weights_of_layers() -> None:
    model, x = _small("t5").eval(), torch.randint(0, 99, (2, 8))
    before = model(input_ids=x, decoder_input_ids=x).logits
    convert_linear(model, starts.exact())
    assert torch.allclose(model(input_ids=x, decoder_input_ids=x).logits, before, atol=1e-4)
    unconvert(model)
    assert torch.allclose(model(input_ids=x, decoder_input_ids=x).logits, before, atol=1e-4)


def test_lora_trains_beside_stl_layers_and_merges_only_where_it_stays_the_same() -> None:
    peft = pytest.importorskip("peft")
    import kernels.lora

    x = torch.randint(0, 99, (3, 16))
    for codec in (starts.exact(), MIXING):
        model = _small("bert").eval()
        convert_linear(model, codec)
        before = model(x)[0]
        names = {"target_modules": ["query", "value"], "init_lora_weights": False}
        with pytest.raises(ValueError, match="STLLinear"):
            peft.get_peft_model(model, peft.LoraConfig(**names))
        adapted = peft.get_peft_model(model, kernels.lora.admit(peft.LoraConfig(**names))).eval()
        y = adapted(x)[0]
        y.sum().backward()
        assert {n.split(".")[-2] for n, p in adapted.named_parameters() if p.grad is not None} == {"default"}
        assert not torch.allclose(y, before, atol=1e-3)
        with adapted.disable_adapter():
            assert torch.equal(adapted(x)[0], before)
        if codec is MIXING:
            with pytest.raises(StlError, match="exact encoder"):
                adapted.merge_adapter()
            continue
        adapted.merge_adapter()
        assert torch.allclose(adapted(x)[0], y, atol=1e-5)
        adapted.unmerge_adapter()
        assert torch.allclose(model(x)[0], y, atol=1e-5)
