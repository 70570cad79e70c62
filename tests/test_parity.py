"""Parity with the paper's released code: every cell of its golden outputs on tiny models."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

import xtl

FAMILIES = ["llama", "mistral", "qwen2"]
LEVELS = {"attn": "attn_released", "ffn": "mlp"}


pytestmark = pytest.mark.filterwarnings("ignore:the tokenizer of .* does not give a text back")  # a tiny vocabulary


@pytest.fixture(scope="module")
def golden_model(shared):
    loaded = {}

    def get(family, backend):
        if (family, backend) not in loaded:
            loaded[family, backend] = xtl.load_model(shared / "golden/tiny" / family, backend=backend)
        return loaded[family, backend]

    return get


@pytest.mark.parametrize("backend", ["bridge", "hooked"])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_cell_equals_the_released_code(golden_model, shared, family, level, backend):
    golden = load_file(shared / "golden/tiny" / family / f"golden_{level}.safetensors")
    model = golden_model(family, backend)
    n_layers = golden[f"{level}_logits"].shape[0]
    assert model.cfg.n_layers == n_layers
    for i in range(n_layers):
        for j in range(n_layers):
            result = xtl.transplant(
                model,
                source=golden["source_ids"][0].tolist(),
                target=golden["target_ids"][0].tolist(),
                module=LEVELS[level],
                source_layer=i,
                target_layer=j,
                max_new_tokens=8,
            )
            want = golden[f"{level}_logits"][i, j]
            assert (result.logits - want).abs().max() <= 1e-5 * want.abs().max(), (i, j)
            assert result.tokens == [t for t in golden[f"{level}_tokens"][i, j].tolist() if t >= 0], (i, j)
    vanilla = golden["vanilla_logits"]
    assert (result.vanilla_logits - vanilla).abs().max() <= 1e-5 * vanilla.abs().max()
    assert result.vanilla_tokens == [t for t in golden["vanilla_tokens"].tolist() if t >= 0]
