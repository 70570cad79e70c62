"""`xtl models` and `xtl models check`."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.conftest import DEFAULT_BACKEND, NO_HOOKED
from xtl import cli
from xtl.commands import listing
from xtl.models.names import PAPER


@pytest.fixture
def run(capsys, monkeypatch):
    def call(*arguments):
        capsys.readouterr()  # what building a tiny model printed
        monkeypatch.setattr("sys.argv", ["xtl", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return call


@pytest.fixture
def hub(tmp_path, monkeypatch, tiny_folder):
    """A Hugging Face cache that holds one model, one tokenizer and one data set."""
    cache = tmp_path / "hub"
    for folder, content in (
        ("models--some--tiny-7b", tiny_folder("smollm2")),
        ("models--some--tokenizer", None),
        ("datasets--some--data", tiny_folder("llama")),
    ):
        snapshot = cache / folder / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
        if content is not None:
            shutil.copytree(content, snapshot)
        else:
            snapshot.mkdir(parents=True)
            (snapshot / "config.json").write_text("{}")
        (cache / folder / "refs").mkdir()
        (cache / folder / "refs" / "main").write_text(snapshot.name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return cache


def test_models_that_are_here_come_with_what_they_really_need(hub):
    rows = {row.name: row for row in listing.list_models()}
    here = rows["some/tiny-7b"]
    assert here.cached
    assert here.exact
    assert here.n_parameters < 100_000  # counted: its name would say 7 billion
    assert "some/tokenizer" not in rows
    assert "some/data" not in rows


def test_the_papers_models_and_transformer_lens_names_are_listed_once(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    rows = listing.list_models()
    names = [row.name for row in rows]
    assert names[:6] == ["gemma-3-270m", *PAPER]
    assert len(names) == len(set(names))
    by_name = {row.name: row for row in rows}
    assert by_name["mistral-7b-instruct-v0.3"].gigabytes(2) == "~14.0 GB"
    assert by_name["bloomz-7b1"].n_parameters == 7_100_000_000
    assert by_name["EleutherAI/pythia-70m"].gigabytes(4) == "~280 MB"
    assert by_name["gpt2"].gigabytes(4) == "?"
    assert not any(row.cached for row in rows[1:])
    assert not [name for name in names if "NeelNanda" in name or "bert" in name]  # not readable, no decoders


def test_the_list_on_the_command_line(run, hub):
    code, out, _ = run("models")
    assert code == 0
    assert out.split()[:4] == ["name", "float32", "bfloat16", "here"]
    assert [line.split()[-1] for line in out.splitlines() if line.startswith("some/tiny-7b")] == ["yes"]
    value = json.loads(run("models", "--json")[1])
    assert {"embedded", "paper", "transformer_lens", "models"} == set(value)
    assert value["models"][0]["name"] == "gemma-3-270m"


def test_check_prints_the_contract(run, tiny_folder):
    code, out, _ = run("models", "check", tiny_folder("pythia"))
    assert code == 0
    assert f"backend    {DEFAULT_BACKEND}  (" in out
    assert "modules    attn, mlp, resid\n" in out  # parallel blocks have no resid_mid
    assert out.count("  holds") == 5
    report = json.loads(run("models", "check", tiny_folder("pythia"), "--backend", "bridge", "--json")[1])
    assert report["backend"] == "bridge"
    assert report["backend_reason"] == "backend='bridge' was asked for"
    assert max(report["contract"].values()) < report["tolerance"]
    assert report["class"] == "GPTNeoXForCausalLM"


def test_check_of_what_does_not_hold_is_one_line(run, tiny_folder):
    code, out, err = run("models", "check", tiny_folder("falcon_mamba"))
    assert (code, out) == (2, "")
    assert err.startswith("xtl: the model's contract does not hold")
    assert err.count("\n") == 1
    assert run("models", "check", "no-such-model")[0] == 2
    assert run("models", "check", tiny_folder("llama"), "--backend", "x")[0] == 2


@pytest.mark.skipif(NO_HOOKED, reason="TransformerLens 4 keeps the cache of ALiBi models")
def test_check_says_what_does_not_hold(run, tiny_folder):
    code, out, _ = run("models", "check", tiny_folder("mpt"), "--backend", "bridge")
    assert code == 0
    assert "doesn't: the model is run without one" in out
    assert "loses its KV cache" in out
    assert "engine     loop" in out
