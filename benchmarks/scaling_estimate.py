"""How long does the paper's whole study take on so many GPUs, given what one map costs?

    python benchmarks/scaling_estimate.py --likelihood 0.5 --generated 6

The costs are of one map of 2,048 cells of a model of 7 billion parameters on one GPU: measure them with `benchmarks/gpu_map.py`,
or with `xtl run STUDY --dry-run`, on the machine that the study is for.
"""

from __future__ import annotations

import pandas as pd
from common import parser
from estimate import hours, paper_study


def main() -> None:
    p = parser(__doc__)
    p.add_argument("--likelihood", type=float, required=True, help="seconds a map scored by likelihood")
    p.add_argument("--generated", type=float, required=True, help="seconds a map of generated answers")
    p.add_argument("--gpus", default="1,8,64")
    arguments = p.parse_args()
    study = paper_study(arguments.likelihood, arguments.generated)
    table = pd.DataFrame([vars(work) for work in study])
    counts = table.pivot_table(index="task", columns="model", values="n_pairs", margins=True, aggfunc="sum")
    print(counts.to_string())
    print(f"GPU hours, without loading: {sum(work.n_pairs * work.seconds_a_map for work in study) / 3600:.1f}")
    for n in arguments.gpus.split(","):
        print(f"{n:>4} GPUs: {hours(study, int(n)):.2f} hours")


if __name__ == "__main__":
    main()
