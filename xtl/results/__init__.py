"""What a result is: its axes, units and origin; maps put together or averaged, and a control beside its real run."""

from xtl.results.axes import (
    GAIN_DIMS,
    NOISE,
    check_computed,
    labelled,
    model_name,
    per_example,
    provenance,
    score_unit,
    with_directions,
)
from xtl.results.calibration import calibrated
from xtl.results.concat import Maps, as_parts, as_results, concat_maps, real_and_control, with_control
from xtl.results.details import DETAILS, gold_option
from xtl.results.means import ROLES, best_cells, check_mean_maps, mean_maps

__all__ = [
    "DETAILS",
    "GAIN_DIMS",
    "NOISE",
    "ROLES",
    "Maps",
    "as_parts",
    "as_results",
    "best_cells",
    "calibrated",
    "check_computed",
    "check_mean_maps",
    "concat_maps",
    "gold_option",
    "labelled",
    "mean_maps",
    "model_name",
    "per_example",
    "provenance",
    "real_and_control",
    "score_unit",
    "with_control",
    "with_directions",
]
