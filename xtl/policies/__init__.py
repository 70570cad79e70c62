"""Policies: what was found of a model, in a folder that can be shared, checked, and applied to any generation."""

from __future__ import annotations

from xtl.policies.policy import Policy

__all__ = ["Policy"]
