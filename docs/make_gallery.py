"""Draw every kind of figure of `xtl figure` from a run, into docs/gallery/, and write docs/gallery.md: `make gallery`.

The figures are SVG at the width of a paper's column; the same run gives the same bytes.
"""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

from xtl.figures_export import export_figure
from xtl.figures_print import KINDS

HERE = Path(__file__).parent
INTRO = """# Gallery

Every kind of figure that `xtl figure` draws, at the width of a paper's column (3.3 in, 8-point labels). `make gallery` draws
them again. Beside each figure lies its data as CSV. The data here are those of `xtl demo`: Gemma 3 270M, a few capitals, so
that intervals are wide and nothing is to be concluded from them.

Colours can be told apart with every kind of colour blindness; all panels of a figure share one scale; maps are vectors.
"""


def main() -> None:
    """Draw, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", default="runs/demo", help="folder of a run; runs/demo by default (make demo)")
    run = Path(parser.parse_args().run)
    parts = [INTRO]
    for kind, draw in KINDS.items():
        path, table = export_figure(run, kind=kind, form="svg", out=HERE / "gallery" / f"{kind}.svg")
        caption = inspect.getdoc(draw) or kind
        parts.append(
            f"## {kind}\n\n{caption}\n\n```sh\nxtl figure {run} --kind {kind} --format pdf --width 3.3in --style paper\n```\n\n"
            f"![{caption}](gallery/{path.name})\n\n[The data](gallery/{table.name})\n"
        )
        print(f"wrote {path} and {table}")
    (HERE / "gallery.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
