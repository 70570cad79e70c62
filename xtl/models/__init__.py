"""Models: load one, unprocessed, and check the contract on which transplants rest."""

from xtl.models.load import BACKENDS, load_model

__all__ = ["BACKENDS", "load_model"]
