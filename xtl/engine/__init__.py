"""The map of a pair: every cell (module, source layer, target layer), scored or answered.

`sweep` builds the map of one pair, `sweep_many` those of many. Engines differ in speed alone: `loop`, one
`run_with_hooks` a cell, is the reference.
"""

from xtl.engine.engines import ENGINES
from xtl.engine.many import sweep_many
from xtl.engine.maps import sweep

__all__ = ["ENGINES", "sweep", "sweep_many"]
