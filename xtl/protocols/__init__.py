"""The paper's experiments (XTransplant, arXiv 2412.12686), each one function: on which languages what is run and counted.

- `pairwise`: every cell of both modules on the sample (section 3);
- `upper_bound`: how many instances some cell of a source row, of a target column or of the whole map solves (section 3);
- `fixed`: the paper's fixed layers on unseen data;
- `select`: the best cell of the sample, measured on unseen data.

All give tables with one column a language, a mean and a spread (`xtl.protocols.tables`).
"""

from xtl.protocols.run import fixed, pairwise, select
from xtl.protocols.tables import accuracy_table, upper_bound, write_table

__all__ = ["accuracy_table", "fixed", "pairwise", "select", "upper_bound", "write_table"]
