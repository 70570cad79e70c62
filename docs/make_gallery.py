"""Draw every kind of figure of `xtl figure` into docs/gallery/, and write docs/gallery.md: `make gallery`.

Maps are of `xtl demo`; what needs more instances is of a run that the page names. The
figures are SVG at the width of a paper's column; the same runs give the same bytes.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from xtl.publish.figure_files import export_figure
from xtl.publish.figures import KINDS

HERE = Path(__file__).parent
DEMO, MANY = "runs/demo", "runs/many"
DRAWN: dict[str, tuple[str, str | None]] = {
    "gain_map": (DEMO, None),
    "accuracy_map": (DEMO, None),
    "interval_map": (MANY, None),
    "layer_profile": (MANY, None),
    "held_out": (MANY, None),
    "upper_bound": (MANY, None),
    "layer_module": (DEMO, None),
}
"""Run and direction of each kind of figure."""
INTRO = """# Gallery

Every kind of figure that `xtl figure` draws, at the width of a paper's column (3.3 in, 8-point labels). `make gallery` draws
them again. Beside each figure lies its data as CSV.

The model is Gemma 3 270M, the task `capitals`. `runs/demo` is what `make demo` makes: a few countries, so that nothing is to be
concluded from its maps. `runs/many` has 32 countries in Spanish, so that means have intervals:
`xtl run --tasks capitals --directions en:es --limit 32 --source-layers 0,4,8,12,13,17 --target-layers 0,4,8,12,13,17
--out runs/many`.

Colours can be told apart with every kind of colour blindness; all panels of a figure share one scale, whose bar says ≤ where
losses lie beyond it; layers stand at their numbers, and those that were not tried are blank; maps are vectors.
"""


def main() -> None:
    """Draw, and write the page."""
    parts = [INTRO]
    for kind, draw in KINDS.items():
        run, direction = DRAWN[kind]
        path, table = export_figure(
            run, kind=kind, direction=direction, form="svg", out=HERE / "gallery" / f"{kind}.svg"
        )
        caption = " ".join((inspect.getdoc(draw) or kind).split())
        flags = f"--kind {kind}" + (f" --direction {direction}" if direction else "")
        parts.append(
            f"## {kind}\n\n{caption}\n\n```sh\nxtl figure {run} {flags} --format pdf --width 3.3in --style paper\n```\n\n"
            f"![{caption}](gallery/{path.name})\n\n[The data](gallery/{table.name})\n"
        )
        print(f"wrote {path} and {table}")
    (HERE / "gallery.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
