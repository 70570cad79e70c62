"""How a bridge's packed cells are laid out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xtl.engine.packed.groups import assign_groups, best_number_of_groups
from xtl.engine.plan import Cell
from xtl.engine.staging import in_branch_order
from xtl.hooks import MODULES

cells = st.lists(
    st.builds(Cell, st.sampled_from(list(MODULES.values())), st.integers(0, 5), st.integers(0, 5)),
    min_size=1,
    max_size=40,
)


def in_order(some):
    return [cell for _, cell in in_branch_order(list(enumerate(some)))]


@given(cells=cells, n_groups=st.integers(1, 9))
def test_every_cell_has_its_place_among_its_like(cells, n_groups):
    cells = in_order(cells)
    assigned = assign_groups(cells, n_groups)
    assert assigned.numbers.shape[0] == n_groups
    for number in range(len(cells)):
        assert assigned.numbers[assigned.groups[number], assigned.slots[number]] == number
    for slot in assigned.numbers.T.tolist():
        assert len({(cells[number].target_layer, cells[number].module.write) for number in slot}) == 1
    assert [min(slot) for slot in assigned.numbers.T.tolist()] == sorted(
        {min(slot) for slot in assigned.numbers.T.tolist()}
    )


@given(cells=cells, most=st.integers(0, 9), n_nodes=st.integers(1, 5), n_prefix=st.integers(0, 300))
def test_the_number_of_groups_is_one_that_there_may_be(cells, most, n_nodes, n_prefix):
    assert 1 <= best_number_of_groups(in_order(cells), n_nodes, n_prefix, most) <= max(1, most)


def test_a_full_map_is_assigned_without_empty_slots():
    full = [
        Cell(MODULES[name], source, target) for target in range(6) for name in ("attn", "mlp") for source in range(6)
    ]
    assigned = assign_groups(full, best_number_of_groups(full, 1, 100, 50))
    assert assigned.numbers.numel() == len(full)


def test_a_diagonal_is_one_group():
    diagonal = [Cell(MODULES["attn"], layer, layer) for layer in range(6)]
    assert best_number_of_groups(diagonal, 1, 100, 50) == 1
