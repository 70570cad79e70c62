"""Writes the table of `docs/models.md`: what xtl does with each architecture, found out on the tiny models.

python -m tests.models.table
"""

from __future__ import annotations

import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xtl
from tests import tiny
from xtl.backend import backend_name
from xtl.engine.engines import resolve_engine
from xtl.engine.lengths import edges, engine_for
from xtl.engine.plan import Plan
from xtl.hooks import MODULES as KINDS

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
BEGIN, END = "<!-- table: python -m tests.models.table -->", "<!-- end of table -->"

MODELS = {
    "llama": "Llama 1, 2; chinese-alpaca-2; Yi; TinyLlama",
    "llama3": "Llama 3, 3.1, 3.2, 3.3",
    "llama_head_dim": "Llama with heads of their own size",
    "llama_bias": "Llama with biases in attention",
    "llama_yarn": "Llama with other rotary scalings (yarn, linear)",
    "llama_dynamic": "Llama with dynamic NTK",
    "llama_longrope": "Llama with LongRoPE",
    "smollm2": "SmolLM2 (tied embeddings)",
    "mistral": "Mistral 7B v0.1 (sliding window)",
    "mistral_v03": "Mistral 7B v0.2, v0.3, Nemo",
    "mixtral": "Mixtral",
    "qwen2": "Qwen 1.5, 2, 2.5",
    "qwen2_moe": "Qwen 1.5 MoE, Qwen 2 57B-A14B",
    "qwen3": "Qwen 3",
    "qwen3_moe": "Qwen 3 MoE",
    "gemma": "Gemma 1",
    "gemma2": "Gemma 2",
    "gemma3": "Gemma 3 (of those that see, the language model)",
    "vaultgemma": "VaultGemma",
    "gemma4": "Gemma 4",
    "gpt2": "GPT-2, distilgpt2, CRFM's",
    "gpt_neo": "GPT-Neo, TinyStories",
    "gptj": "GPT-J",
    "pythia": "Pythia, GPT-NeoX",
    "neox_sequential": "GPT-NeoX with use_parallel_residual=False",
    "bloom": "BLOOM, BLOOMZ",
    "opt": "OPT",
    "opt_post_norm": "OPT 350M (norms after each sublayer)",
    "phi": "Phi 1, 1.5, 2",
    "phi3": "Phi 3, 4 (4k context)",
    "phi3_longrope": "Phi 3 128k, 3.5 mini, 4 mini (LongRoPE)",
    "olmo": "OLMo 1",
    "olmo2": "OLMo 2",
    "olmo2_grouped": "OLMo 2 32B (grouped keys)",
    "olmo3": "OLMo 3",
    "olmoe": "OLMoE",
    "gpt_oss": "gpt-oss",
    "apertus": "Apertus",
    "falcon": "Falcon 7B",
    "falcon_new": "Falcon 40B, 180B, 2",
    "falcon_alibi": "Falcon RW",
    "stablelm": "StableLM",
    "starcoder2": "StarCoder 2",
    "smollm3": "SmolLM3",
    "granite": "Granite",
    "granite_moe": "Granite MoE",
    "nanochat": "nanochat",
    "glm": "GLM 4 9B",
    "glm4": "GLM 4 0414",
    "glm4_moe": "GLM 4.5",
    "exaone4": "EXAONE 4",
    "nemotron": "Nemotron, Minitron",
    "mpt": "MPT",
    "gpt_bigcode": "StarCoder 1, SantaCoder",
    "xglm": "XGLM",
    "ernie4_5": "ERNIE 4.5",
    "seed_oss": "Seed-OSS",
    "llama4_text": "Llama 4, text",
    "codegen": "CodeGen",
    "arcee": "Arcee AFM",
    "cohere": "Command R, Aya",
    "hunyuan": "Hunyuan dense",
    "openai_gpt": "GPT 1",
    "persimmon": "Persimmon",
    "falcon_mamba": "Falcon Mamba, and other models without attention",
}
"""For each tiny model, the published ones that it stands for; the order of the table."""


SCALAR = re.compile(
    r"multiplier$|logits?_scal|routed_scaling|softcap|query_pre_attn_scalar|partial_rotary_factor|attn_scale$|alibi_bias_max"
    r"|window(_size)?$|attention_chunk_size|floor_scale"
)
"""What a model multiplies, caps or cuts with: numbers of a configuration that a neutral default would hide."""

EVERYWHERE = re.compile(r"^rope_theta$|norm_eps(ilon)?$")
"""Of these, what nearly every model has; the table leaves them out."""

Load = Callable[[str, str], Any]
"""A tiny model by architecture and backend."""


def row(name: str, load: Load) -> str:
    """One line of the table."""
    cells = [cell(name, backend, load) for backend in ("hooked", "bridge")]
    models = [model for model, _ in cells if model is not None]
    blocks, takes = "-", "refused"
    if models:
        blocks = "sequential" if "blocks.0.hook_resid_mid" in models[0].hook_dict else "parallel"
        takes = backend_name(models[0])
    architecture = type(tiny.ALL_CONFIGS[name]()).__name__.removesuffix("Config").removesuffix("Text")
    tried = ", ".join(f"`{key}` {value:g}" for key, value in scalars(name).items()) or "-"
    return f"| {MODELS[name]} | {architecture} | {blocks} | {cells[0][1]} | {cells[1][1]} | {takes} | {tried} |"


def cell(name: str, backend: str, load: Load) -> tuple[Any, str]:
    """The model of this backend and the engine that runs it; or None and why there is none."""
    try:
        model = load(name, backend)
    except xtl.XtlError as error:
        return None, reason(str(error))
    return model, engines(model)


def engines(model: Any) -> str:
    """The engine that "auto" takes; and where a text is at the edge of a window or of a rule for positions, if another."""
    usual = resolve_engine(model, "auto")
    found = {usual: usual}
    for edge, key in edges(model).items():
        for n in range(edge - 2, edge + 4):
            plan = Plan([3], [3 + at for at in range(n)], (KINDS["attn"],), (0,), (0,), ((5,),))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                other = engine_for(model, plan, usual)
            found.setdefault(other, f"{other} at the edge of `{key}`")
    return "; ".join(found.values())


def scalars(name: str, which: re.Pattern[str] = SCALAR) -> dict[str, float]:
    """The numbers of a tiny model's configuration that a default could hide, as they are tried; 0 switches one off."""
    config = tiny.ALL_CONFIGS[name]()
    known = numbers(type(config)().to_dict()) | vars(type(config))
    own = numbers(config.to_dict())
    return {key: value for key, value in own.items() if which.search(key) and key in known and value != 0}


def defaults(name: str) -> dict[str, float]:
    """The numbers of the same configuration class, left as it is."""
    return numbers(type(tiny.ALL_CONFIGS[name]())().to_dict())


def numbers(config: Mapping[Any, Any]) -> dict[str, float]:
    """All numbers of a configuration, by name; parts of it included."""
    found: dict[str, float] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= numbers(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[str(key)] = value
    return found


def reason(error: str) -> str:
    """An error's kernel."""
    if "is not currently supported" in error or "Unsupported architecture" in error:
        return "no: unknown to TransformerLens"
    if "has no bridge" in error:
        return "no: TransformerLens's bridge fails"
    text = error.removesuffix("; use backend='bridge'")
    text = text.split("contract does not hold: ")[-1].split("). Transplants")[0].split("): ")[-1]
    text = text.split("; try backend")[0].split("; this architecture")[0].split(" (relative")[0]
    return "no: " + text.split(" by ")[0]


def table(load: Load) -> str:
    """The whole table."""
    head = [
        "| models | architecture | blocks | hooked | bridge | auto takes | scalars tried |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join(head + [row(name, load) for name in MODELS])


def page_with(new: str) -> str:
    """The page with this table in the place of its old one."""
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Build each tiny model, try it, write the page."""
    with tempfile.TemporaryDirectory() as place:

        def load(name: str, backend: str) -> Any:
            folder = Path(place) / name
            return xtl.load_model(folder if folder.exists() else tiny.build(name, folder), backend=backend)

        PAGE.write_text(page_with(table(load)), encoding="utf-8")


if __name__ == "__main__":
    main()
