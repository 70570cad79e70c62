"""The map of a pair: every cell (module, source layer, target layer), scored.

`sweep` builds the map of one pair, `sweep_many` those of many. Engines differ in speed alone: `loop`, one
`run_with_hooks` a cell, is the reference.
"""

from xtl.engine.maps import ENGINES, sweep, sweep_many

__all__ = ["ENGINES", "sweep", "sweep_many"]
