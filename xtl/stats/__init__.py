"""Is the gain real? Uncertainty, significance, chance-corrected upper bounds and held-out selection, on arrays alone.

The best of a thousand cells beats vanilla by luck alone. What is here tells luck from effect:

- `cell_intervals`, `layer_intervals`: how sure is the mean gain of a cell, of a layer (bootstrap over instances)?
- `significance`: could it be chance (paired sign flips, McNemar), corrected for the number of cells of the map?
- `layer_upper_bounds`, `upper_bound_curve`, `solved_instances`: how many instances does *some* cell solve, and how many of
  them does it solve with a control's source prompt?
- `select_cell`, `held_out`, `cell_stability`, `cell_transfer`: what does the best cell gain on instances that it was not
  chosen on?
- `summary_table`: all of it in one table.

Results come from `xtl.sweep_many`; a control is a second result of the same target prompts. Examples with the same id are one
*instance* (one question in several languages, or templates): it is drawn, flipped or held out as a whole. No model runs here.

>>> from xtl import stats
>>> real, control = stats.simulate(n_instances=30, planted={("attn", 2, 3): 2.0}, control=True, seed=0)
>>> found = stats.significance(real, control, seed=1)
>>> [str(found["module"].values[m]) + f" {i} -> {j}" for m, i, j in zip(*(found["p_max"][0].values < 0.05).nonzero())]
['attn 2 -> 3']
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xtl.packages import lazily

if TYPE_CHECKING:
    from xtl.stats.chance import solved_instances, upper_bound_curve
    from xtl.stats.intervals import cell_intervals
    from xtl.stats.layers import layer_intervals
    from xtl.stats.paired_tests import significance
    from xtl.stats.seeds import check_seeds
    from xtl.stats.selection import held_out, select_cell
    from xtl.stats.simulation import simulate
    from xtl.stats.stability import cell_stability, cell_transfer
    from xtl.stats.summary import summary_table, summary_wide
    from xtl.stats.upper_bounds import layer_upper_bounds

__all__ = [
    "cell_intervals",
    "cell_stability",
    "cell_transfer",
    "check_seeds",
    "held_out",
    "layer_intervals",
    "layer_upper_bounds",
    "select_cell",
    "significance",
    "simulate",
    "solved_instances",
    "summary_table",
    "summary_wide",
    "upper_bound_curve",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "cell_intervals": "xtl.stats.intervals",
        "cell_stability": "xtl.stats.stability",
        "cell_transfer": "xtl.stats.stability",
        "check_seeds": "xtl.stats.seeds",
        "held_out": "xtl.stats.selection",
        "layer_intervals": "xtl.stats.layers",
        "layer_upper_bounds": "xtl.stats.upper_bounds",
        "select_cell": "xtl.stats.selection",
        "significance": "xtl.stats.paired_tests",
        "simulate": "xtl.stats.simulation",
        "solved_instances": "xtl.stats.chance",
        "summary_table": "xtl.stats.summary",
        "summary_wide": "xtl.stats.summary",
        "upper_bound_curve": "xtl.stats.chance",
    },
)
