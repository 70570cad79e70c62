"""Gradient maps: every cell's gain estimated from one backward pass, where an exact map is too dear.

A transplant replaces an activation `own` of the target run by `source`. To first order its gain is

    (source - own) . d score / d own

so that one backward pass through the target run gives all cells of a map, those of all heads by all heads among them
(attribution patching). How good that is only exact transplants can tell, and here they are cheap: `attribution` computes the best
cells again exactly (`verify`), and says on a random sample how far estimate and gain agree (`sample`).
"""

from xtl.gradients.estimate import attribution
from xtl.gradients.exact import agreement
from xtl.gradients.slopes import METHODS

__all__ = ["METHODS", "agreement", "attribution"]
