"""The card of a run: made from its numbers, readable by the hub, rewritten whole, and no text of others acts in it."""

from __future__ import annotations

import pandas as pd
import pyarrow.parquet as pq
import yaml

from tests.runs.filling import fill, jobs_of
from xtl.runs.card import run_card, write_card
from xtl.runs.folder import read_manifest


def test_its_configurations_and_figures_are_those_of_the_tables(tmp_path):
    store = fill(tmp_path / "run", jobs_of(), most=3)
    folder, manifest = tmp_path / "run", read_manifest(tmp_path / "run")
    card = write_card(folder, manifest, len(store.done)).read_text(encoding="utf-8")
    head, body = card.split("---\n")[1:3]
    for config in yaml.safe_load(head)["configs"]:
        assert list(folder.glob(config["data_files"])), config
    cells = pd.concat([pq.read_table(file).to_pandas() for file in folder.glob("cells/*.parquet")])
    assert f"pairs: 3 of {manifest['pairs']}" in body
    first = cells[cells.target_lang == cells.target_lang.iloc[0]]
    means = first.groupby(["module", "source_layer", "target_layer"]).gain.mean()
    assert f"{means.max():+.3g}" in body
    assert f"{means.mean():+.3g}" in body
    whole = fill(folder, jobs_of())
    again = write_card(folder, read_manifest(folder), len(whole.done)).read_text(encoding="utf-8")
    assert f"pairs: {manifest['pairs']} of {manifest['pairs']}" in again


def test_text_of_others_is_no_markup(tmp_path):
    fill(tmp_path / "run", jobs_of(), most=1)
    manifest = read_manifest(tmp_path / "run")
    manifest["study"]["models"][0]["name"] = "a|b\n---\nconfigs: <script>"
    body = run_card(tmp_path / "run", manifest, 1).split("---\n", 2)[2]
    assert "<script>" not in body
    assert "\n---\n" not in body
