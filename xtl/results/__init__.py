"""What a result is: its axes, units and origin; maps put together, and a control beside its real run."""

from xtl.results.concat import Maps, as_parts, as_results, concat_maps, real_and_control, with_control

__all__ = [
    "Maps",
    "as_parts",
    "as_results",
    "concat_maps",
    "real_and_control",
    "with_control",
]
