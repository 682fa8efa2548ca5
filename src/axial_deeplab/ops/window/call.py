"""Calling the CPU kernels for windows, see `ops.numba.window`."""

import torch.nn.functional as F
from torch import Tensor

from axial_deeplab.ops.numba.call import KernelCall, threads_for

# Chunks depend on the shapes alone, so that the number of threads changes no bit.
FEWEST_CHUNKS = 16


class WindowCall(KernelCall):
    """One call of a kernel for windows.

    Args:
        q: (B, H, W, N, D), and so is `k`.
        k: as `q`.
        reach: how far a window reaches along the columns and along the rows of an image.
        value_dim: channels of the values, 0 if there are none.
    """

    def __init__(self, q: Tensor, k: Tensor, reach: tuple[int, int], value_dim: int = 0) -> None:
        super().__init__(q)
        self.batch, self.height, self.width, self.heads, self.head_dim = q.shape
        self.value_dim = value_dim
        self.row_reach, self.reach = reach
        self.is_empty = q.shape[:4].numel() == 0
        self.set_numbers(
            BATCH=self.batch,
            LENGTH=self.width,
            LINES=self.height,
            HEADS=self.heads,
            HEAD_DIM=self.head_dim,
            VALUE_DIM=value_dim,
            REACH=self.reach,
            ROW_REACH=self.row_reach,
        )
        self.set_rows(Q=q, K=k)

    @property
    def groups(self) -> int:
        """Into how many groups the images are split, where each head sums its gradients on its own."""
        return min(self.batch, -(-FEWEST_CHUNKS // self.heads))

    def set_rows(self, **tensors: Tensor) -> None:
        """Set the addresses and strides of tensors (B, H, W, N, C), whose lines are the rows of an image."""
        self.set_images(**{column: x.transpose(1, 2) for column, x in tensors.items()})

    def set_tables(self, **tables: Tensor | None) -> None:
        """Set tables of the offsets in reach, (N, offsets, C), up to whole tiles of columns and channels."""
        for column, table in tables.items():
            if table is not None:
                near = table.unflatten(1, (-1, 2 * self.reach + 1))
                missing = [self.layout.whole_tiles(n) - n for n in near.shape[2:]]
                padded = F.pad(near, (0, missing[1], 0, missing[0])).contiguous()
                self.set_addresses(**{column: padded})

    def launch(self, entry: str, chunks: int) -> None:
        """Run a kernel on as many threads as pay."""
        side, row_side = min(self.width, 2 * self.reach + 1), min(self.height, 2 * self.row_reach + 1)
        pairs = self.batch * self.heads * self.height * self.width * side * row_side
        threads = threads_for(pairs * (3 * self.head_dim + 2 * self.value_dim), chunks)
        scratch_size = getattr(self.layout, f"{entry}_scratch_size")
        sizes = (self.height, self.width, self.reach, self.row_reach, self.head_dim, self.value_dim)
        self.set_scratch(scratch_size(*sizes), threads)
        self.set_numbers(CHUNKS=chunks)
        self.run(entry, threads)

    def differentiate(self, entry: str) -> tuple[list[Tensor], Tensor]:
        """Run a backward kernel.

        Returns:
            the gradients of the three tables in reach, (N, rows, columns, C), and of the first scale, (N,).
        """
        layout = self.layout
        size = layout.window_table_grads_size(self.reach, self.row_reach, self.head_dim, self.value_dim)
        sums = self.like.new_empty(self.heads, self.groups, size)
        self.set_numbers(TABLE_GRADS_SIZE=size)
        self.set_addresses(TABLE_GRADS=sums)
        self.launch(entry, self.heads * self.groups)
        offsets = layout.offsets(self.reach, self.row_reach)
        widths = (self.head_dim, self.head_dim, self.value_dim)
        sizes = [offsets * layout.whole_tiles(width) for width in widths]
        *tables, scale = sums.sum(1).split([*sizes, 1], dim=1)
        side, row_side = 2 * self.reach + 1, 2 * self.row_reach + 1
        shape = (row_side, layout.whole_tiles(side))
        grads = [
            table.unflatten(1, (*shape, layout.whole_tiles(width)))[:, :, :side, :width]
            for table, width in zip(tables, widths, strict=True)
        ]
        return grads, scale[:, 0]
