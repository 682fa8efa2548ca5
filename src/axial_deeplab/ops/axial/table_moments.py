"""Sums over the windows of queries in a relative table, by prefix sums: linear in the length."""

import torch
from torch import Tensor


def rows_in_reach(table: Tensor, reach: int) -> Tensor:
    """Return the rows (2 reach + 1, D) of the distances -reach ... reach, clamped into a table (R, D)."""
    farthest = table.shape[0] // 2
    if reach <= farthest:
        return table.narrow(0, farthest - reach, 2 * reach + 1)
    return table[_clamped_distances(farthest, reach, table.device)]


def add_rows_in_reach(table: Tensor, rows: Tensor, reach: int) -> None:
    """Add rows (2 reach + 1, D) to those of a table (R, D) that `rows_in_reach` returns."""
    farthest = table.shape[0] // 2
    if reach <= farthest:
        table.narrow(0, farthest - reach, 2 * reach + 1).add_(rows)
    else:
        table.index_add_(0, _clamped_distances(farthest, reach, table.device), rows)


def window_sums(rows: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Return for each query the sum (L, D) of the rows in its window and that (L, D, D) of their products.

    Args:
        rows: (2 reach + 1, D), of the distances -reach ... reach.
        length: L, of the axis, which ends the window.
    """
    reach = rows.shape[0] // 2
    i = torch.arange(length, device=rows.device)
    first = (reach - i).clamp_min(0)
    behind = (reach + length - i).clamp_max(2 * reach + 1)
    products = rows[:, :, None] * rows[:, None]
    return range_sums(rows, first, behind, 0), range_sums(products, first, behind, 0)


def range_sums(x: Tensor, first: Tensor, behind: Tensor, dim: int) -> Tensor:
    """Return for each pair the sum of x over first <= index < behind along a dimension, by prefix sums."""
    zero = torch.zeros_like(x.narrow(dim, 0, 1))
    prefix = torch.cat((zero, x.cumsum(dim)), dim)
    return prefix.index_select(dim, behind) - prefix.index_select(dim, first)


def _clamped_distances(farthest: int, reach: int, device: torch.device) -> Tensor:
    distances = torch.arange(-reach, reach + 1, device=device)
    return distances.clamp(-farthest, farthest) + farthest
