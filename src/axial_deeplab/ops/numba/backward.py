"""The backward kernel.

As in the forward kernel, a thread takes one bundle of units at a time. The weights of a block of queries
are computed again from the largest logit of each query, which makes them equal to those of the forward pass
to the last bit, and their gradients beside them. Then each gradient is a sum over the block, four queries,
positions or distances at a time: what they share is loaded once, and relative rows slide from row to row of a
tile. The gradients of the tables keep their lanes until the last bundle of a chunk.
"""

from typing import NamedTuple

from axial_deeplab.ops.numba import bundles, layout, simd
from axial_deeplab.ops.numba.layout import Pointer, Scalar, Tile, Vector, inlined, kernel, merged
from axial_deeplab.ops.numba.simd import LANES, ROWS, TILE


class Sizes(NamedTuple):
    """Lengths that all parts of the work on a bundle need."""

    length: int
    reach: int
    head_dim: int
    value_dim: int
    table_pitch: int
    row_pitch: int  # Numbers in a block's weights for each of its queries.


class Tables(NamedTuple):
    """The relative tables and their gradients, at distance 0."""

    q: Pointer  # (D, distances)
    k: Pointer
    v: Pointer
    q_grad: Pointer  # (distances, D) vectors
    k_grad: Pointer
    v_grad: Pointer


class Memory(NamedTuple):
    """What a thread keeps for one bundle; everything but the scales has rows of vectors for each position."""

    scales: Pointer
    scale_grads: Pointer
    queries: Pointer
    raw_keys: Pointer
    keys: Pointer
    values: Pointer
    grad_content: Pointer
    grad_positional: Pointer
    grad_keys: Pointer  # by queries
    grad_keys_relative: Pointer  # by r^k
    grad_values: Pointer
    query_tile: Pointer
    grad_tile: Pointer
    grad_queries: Pointer  # of a tile, by keys
    grad_queries_relative: Pointer  # by r^q
    weights: Pointer  # of a block, at position 0
    grad_logits: Pointer


@merged
def sizes_of(arguments: Pointer) -> Sizes:
    length, reach, head_dim, value_dim = layout.lengths(arguments)
    return Sizes(
        length, reach, head_dim, value_dim, layout.table_rows(reach), layout.weights_pitch(length) * LANES
    )


@merged
def tables_of(arguments: Pointer, sizes: Sizes, lane_grads: Pointer, like: Scalar) -> Tables:
    key_width, value_width = sizes.head_dim * LANES, sizes.value_dim * LANES
    first = layout.MARGIN + sizes.reach
    q = simd.advance(layout.tensor_at(arguments, layout.TABLES, like), first)
    k = simd.advance(q, sizes.table_pitch * sizes.head_dim)
    v = simd.advance(k, sizes.table_pitch * sizes.head_dim)
    q_grad = simd.advance(lane_grads, first * key_width)
    k_grad = simd.advance(q_grad, sizes.table_pitch * key_width)
    v_grad = simd.advance(lane_grads, 2 * sizes.table_pitch * key_width + first * value_width)
    return Tables(q, k, v, q_grad, k_grad, v_grad)


@merged
def divide(scratch: Pointer, sizes: Sizes) -> Memory:
    """The parts of the scratch memory; zeros behind the last position and before the first key stay."""
    rows = layout.whole_tiles(sizes.length)
    padded = rows + layout.MARGIN
    key_width, value_width = sizes.head_dim * LANES, sizes.value_dim * LANES
    scale_grads = simd.advance(scratch, 3 * LANES)
    queries = simd.advance(scale_grads, 3 * LANES)
    raw_keys = simd.advance(queries, padded * key_width)
    keys = simd.advance(raw_keys, padded * key_width)
    values = simd.advance(keys, 2 * padded * key_width)
    grad_content = simd.advance(values, padded * value_width)
    grad_positional = simd.advance(grad_content, rows * value_width)
    grad_keys = simd.advance(grad_positional, rows * value_width)
    grad_keys_relative = simd.advance(grad_keys, padded * key_width)
    grad_values = simd.advance(grad_keys_relative, padded * key_width)
    query_tile = simd.advance(grad_values, padded * value_width)
    grad_tile = simd.advance(query_tile, 2 * sizes.head_dim * TILE)
    grad_queries = simd.advance(grad_tile, 2 * sizes.value_dim * TILE)
    grad_queries_relative = simd.advance(grad_queries, sizes.head_dim * TILE)
    weights = simd.advance(grad_queries_relative, (sizes.head_dim + layout.MARGIN) * TILE)
    grad_logits = simd.advance(weights, layout.BLOCK * sizes.row_pitch)
    return Memory(
        scratch,
        scale_grads,
        queries,
        raw_keys,
        keys,
        values,
        grad_content,
        grad_positional,
        grad_keys,
        grad_keys_relative,
        grad_values,
        query_tile,
        grad_tile,
        grad_queries,
        grad_queries_relative,
        weights,
        grad_logits,
    )


@merged
def backward_bundle(
    arguments: Pointer,
    bundle: int,
    starts: Pointer,
    scratch: Pointer,
    lane_grads: Pointer,
    scale_grads: Pointer,
    like: Scalar,
) -> None:
    """The gradients of one bundle; those of the tables are added to `lane_grads`, of the scales to (3, N)."""
    sizes = sizes_of(arguments)
    tables = tables_of(arguments, sizes, lane_grads, like)
    memory = divide(scratch, sizes)
    length, head_dim, value_dim = sizes.length, sizes.head_dim, sizes.value_dim
    units = bundles.units_in(arguments, bundle)
    rows = layout.whole_tiles(length)

    bundles.find_scales(arguments, bundle, memory.scales, like)
    key_scale = simd.advance(memory.scales, 2 * LANES)
    bundles.pack(arguments, layout.Q, starts, memory.queries, head_dim, like)
    bundles.pack(arguments, layout.K, starts, memory.raw_keys, head_dim, like)
    bundles.scaled_keys(memory.raw_keys, length * head_dim, key_scale, memory.keys)
    bundles.pack(arguments, layout.V, starts, memory.values, value_dim, like)
    bundles.pack(arguments, layout.CONTENT, starts, memory.grad_content, value_dim, like)
    bundles.pack(arguments, layout.POSITIONAL, starts, memory.grad_positional, value_dim, like)
    bundles.clear_lanes(memory.grad_content, length * value_dim, units)
    bundles.clear_lanes(memory.grad_positional, length * value_dim, units)
    layout.clear(memory.grad_keys, (rows + layout.MARGIN) * (2 * head_dim + value_dim) * LANES)
    layout.clear(memory.scale_grads, 3 * LANES)
    maxima = simd.advance(layout.tensor_at(arguments, layout.MAXIMA, like), bundle * rows * LANES)

    for first in range(0, length, layout.BLOCK):
        last = min(first + layout.BLOCK, rows)
        for o in range(first, last, ROWS):
            find_weights(
                sizes,
                tables,
                memory,
                o,
                (o - first) * sizes.row_pitch,
                simd.load_rows(maxima, o * LANES, LANES),
            )
            differentiate_queries(sizes, tables, memory, o, (o - first) * sizes.row_pitch)
            row_count = min(ROWS, length - o)
            bundles.unpack(
                arguments, layout.GRAD_Q, starts, memory.grad_queries, o, row_count, head_dim, units, like
            )
        differentiate_keys(sizes, tables, memory, first, last)
        differentiate_tables(sizes, tables, memory, first, last)

    size = length * head_dim * LANES
    add_products(
        memory.raw_keys, memory.grad_keys_relative, size, simd.advance(memory.scale_grads, 2 * LANES)
    )
    add_scaled(memory.grad_keys, memory.scales, memory.grad_keys_relative, key_scale, size)
    bundles.unpack(arguments, layout.GRAD_K, starts, memory.grad_keys, 0, length, head_dim, units, like)
    bundles.unpack(arguments, layout.GRAD_V, starts, memory.grad_values, 0, length, value_dim, units, like)
    heads = simd.load_scalar(arguments, layout.HEADS)
    for term in range(3):
        for lane in range(units):
            at = term * heads + (bundle * LANES + lane) % heads
            grad = simd.load_scalar(memory.scale_grads, term * LANES + lane)
            simd.store_scalar(scale_grads, at, simd.load_scalar(scale_grads, at) + grad)


@merged
def find_weights(sizes: Sizes, tables: Tables, memory: Memory, o: int, row: int, largest: Tile) -> None:
    """The weights of queries o ... o + 3 and the gradients of their logits, `row` numbers into the block."""
    start = max(0, o - sizes.reach)
    stop = min(sizes.length, o + ROWS + sizes.reach)
    local = sizes.reach < sizes.length - 1
    key_width, value_width = sizes.head_dim * LANES, sizes.value_dim * LANES
    weights, grads = simd.advance(memory.weights, row), simd.advance(memory.grad_logits, row)
    bundles.scaled_queries(
        simd.advance(memory.queries, o * key_width), sizes.head_dim, memory.scales, memory.query_tile
    )
    copy_to_tile(simd.advance(memory.grad_content, o * value_width), sizes.value_dim, memory.grad_tile)
    copy_to_tile(
        simd.advance(memory.grad_positional, o * value_width),
        sizes.value_dim,
        simd.advance(memory.grad_tile, TILE),
    )
    for p in range(start, stop, 2):
        weight, following = bundles.pair_of_logits(
            memory.query_tile,
            simd.advance(memory.keys, 2 * p * key_width),
            simd.advance(tables.q, p - o),
            simd.advance(tables.k, p - o),
            sizes.table_pitch,
            sizes.head_dim,
            1,
        )
        if local:
            weight = simd.keep_rows(weight, p - o + sizes.reach, 1, 2 * sizes.reach)
            following = simd.keep_rows(following, p + 1 - o + sizes.reach, 1, 2 * sizes.reach)
        grad_weight, grad_following = pair_of_weight_gradients(
            memory.grad_tile,
            simd.advance(memory.values, p * value_width),
            simd.advance(tables.v, p - o),
            sizes.table_pitch,
            sizes.value_dim,
        )
        simd.store_rows(weights, p * TILE, LANES, simd.exp2(simd.subtract(weight, largest)))
        simd.store_rows(weights, (p + 1) * TILE, LANES, simd.exp2(simd.subtract(following, largest)))
        simd.store_rows(grads, p * TILE, LANES, grad_weight)
        simd.store_rows(grads, (p + 1) * TILE, LANES, grad_following)
    normalize(weights, grads, start, stop)
    # The last tile may have rows without a query.
    zero = simd.fill(weights, 0.0)
    for p in range(start, stop):
        for i in range(min(ROWS, sizes.length - o), ROWS):
            simd.store(weights, p * TILE + i * LANES, zero)
            simd.store(grads, p * TILE + i * LANES, zero)
    # All that a whole axis leaves behind its positions is the second of a pair.
    for i in range(layout.MARGIN if local else 1):
        for p in (start - 1 - i, stop + i):
            simd.store_rows(weights, p * TILE, LANES, zero)
            simd.store_rows(grads, p * TILE, LANES, zero)


@merged
def differentiate_queries(sizes: Sizes, tables: Tables, memory: Memory, o: int, row: int) -> None:
    """The gradients of queries o ... o + 3 and what they add to those of the first two scales."""
    query_scale = simd.advance(memory.scales, LANES)
    add_over_positions(
        simd.advance(memory.grad_logits, row),
        memory.raw_keys,
        simd.advance(tables.q, -o),
        sizes.table_pitch,
        memory.grad_queries,
        memory.grad_queries_relative,
        max(0, o - sizes.reach),
        min(sizes.length, o + ROWS + sizes.reach),
        sizes.head_dim,
    )
    size = min(ROWS, sizes.length - o) * sizes.head_dim * LANES
    queries = simd.advance(memory.queries, o * sizes.head_dim * LANES)
    add_products(queries, memory.grad_queries, size, memory.scale_grads)
    add_products(queries, memory.grad_queries_relative, size, simd.advance(memory.scale_grads, LANES))
    add_scaled(memory.grad_queries, memory.scales, memory.grad_queries_relative, query_scale, size)


@merged
def differentiate_keys(sizes: Sizes, tables: Tables, memory: Memory, first: int, last: int) -> None:
    """Add what queries first ... last - 1 give to the gradients of keys and values."""
    key_width, value_width = sizes.head_dim * LANES, sizes.value_dim * LANES
    # Rows of weights are addressed by the query.
    block_weights = simd.advance(memory.weights, -first * sizes.row_pitch)
    block_grads = simd.advance(memory.grad_logits, -first * sizes.row_pitch)
    for p in range(max(0, first - sizes.reach), min(sizes.length, last + sizes.reach), ROWS):
        earliest = layout.whole_tiles(max(first, p - sizes.reach) - ROWS + 1)
        latest = min(last, p + ROWS + sizes.reach)
        add_over_queries(
            simd.advance(block_grads, p * TILE),
            sizes.row_pitch,
            memory.queries,
            simd.advance(tables.k, p),
            sizes.table_pitch,
            simd.advance(memory.grad_keys, p * key_width),
            simd.advance(memory.grad_keys_relative, p * key_width),
            earliest,
            latest,
            sizes.head_dim,
        )
        add_values(
            simd.advance(block_weights, p * TILE),
            sizes.row_pitch,
            LANES,
            memory.grad_content,
            simd.advance(memory.grad_values, p * value_width),
            earliest,
            latest,
            sizes.value_dim,
        )


@merged
def differentiate_tables(sizes: Sizes, tables: Tables, memory: Memory, first: int, last: int) -> None:
    """Add what queries first ... last - 1 give to the gradients of the tables: sums along diagonals."""
    key_width, value_width = sizes.head_dim * LANES, sizes.value_dim * LANES
    start = max(0, first - sizes.reach)
    stop = min(sizes.length, last + sizes.reach)
    block_weights = simd.advance(memory.weights, -first * sizes.row_pitch)
    block_grads = simd.advance(memory.grad_logits, -first * sizes.row_pitch)
    for distance in range(max(-sizes.reach, start + 1 - last), min(sizes.reach, stop - 1 - first) + 1, ROWS):
        earliest = layout.whole_tiles(max(first, start + 1 - ROWS - distance) - ROWS + 1)
        latest = min(last, stop - distance)
        add_along_diagonals(
            simd.advance(block_grads, distance * TILE),
            sizes.row_pitch + TILE,
            memory.queries,
            simd.advance(memory.raw_keys, distance * key_width),
            simd.load(memory.scales, LANES),
            simd.load(memory.scales, 2 * LANES),
            simd.advance(tables.q_grad, distance * key_width),
            simd.advance(tables.k_grad, distance * key_width),
            earliest,
            latest,
            sizes.head_dim,
        )
        add_values(
            simd.advance(block_weights, distance * TILE),
            sizes.row_pitch + TILE,
            TILE + LANES,
            memory.grad_positional,
            simd.advance(tables.v_grad, distance * value_width),
            earliest,
            latest,
            sizes.value_dim,
        )


@kernel
def copy_to_tile(rows: Pointer, width: int, tile: Pointer) -> None:
    """Copy four rows (ROWS, width) of vectors to (width, 2, ROWS)."""
    for c in range(width):
        simd.store_rows(tile, 2 * c * TILE, LANES, simd.load_rows(rows, c * LANES, width * LANES))


@inlined
def pair_of_weight_gradients(
    grad_tile: Pointer, values: Pointer, v_table: Pointer, table_pitch: int, value_dim: int
) -> tuple[Tile, Tile]:
    """The gradients of the weights of four queries for a position and for the next one."""
    following_values = simd.advance(values, value_dim * LANES)
    first_total = simd.fill_tile(values, 0.0)
    second_total = simd.fill_tile(values, 0.0)
    for piece in range(0, value_dim, bundles.CHANNELS_IN_A_SUM):
        first = simd.fill_tile(values, 0.0)
        second = simd.fill_tile(values, 0.0)
        for c in range(piece, min(piece + bundles.CHANNELS_IN_A_SUM, value_dim)):
            grad = simd.load_rows(grad_tile, 2 * c * TILE, LANES)
            first = simd.fma(grad, simd.load(values, c * LANES), first)
            second = simd.fma(grad, simd.load(following_values, c * LANES), second)
            grad = simd.load_rows(grad_tile, (2 * c + 1) * TILE, LANES)
            relative = simd.splat_rows(v_table, c * table_pitch, -1)
            first = simd.fma(grad, relative, first)
            following = simd.fill(v_table, simd.load_scalar(v_table, c * table_pitch + 1))
            second = simd.fma(grad, simd.shift_down(relative, following), second)
        first_total = simd.add(first_total, first)
        second_total = simd.add(second_total, second)
    return first_total, second_total


@kernel
def normalize(weights: Pointer, grads: Pointer, start: int, stop: int) -> None:
    """Divide the weights of four queries by their sums; turn their gradients into those of the logits."""
    total = simd.fill_tile(weights, 0.0)
    delta = simd.fill_tile(weights, 0.0)
    for first in range(start, stop, bundles.POSITIONS_IN_A_SUM):
        partial_total = simd.fill_tile(weights, 0.0)
        partial_delta = simd.fill_tile(weights, 0.0)
        for p in range(first, min(first + bundles.POSITIONS_IN_A_SUM, stop)):
            weight = simd.load_rows(weights, p * TILE, LANES)
            partial_total = simd.add(partial_total, weight)
            partial_delta = simd.fma(weight, simd.load_rows(grads, p * TILE, LANES), partial_delta)
        total = simd.add(total, partial_total)
        delta = simd.add(delta, partial_delta)
    norm = simd.reciprocal(total)
    delta = simd.multiply(delta, norm)
    for p in range(start, stop):
        weight = simd.multiply(simd.load_rows(weights, p * TILE, LANES), norm)
        grad = simd.multiply(weight, simd.subtract(simd.load_rows(grads, p * TILE, LANES), delta))
        simd.store_rows(weights, p * TILE, LANES, weight)
        simd.store_rows(grads, p * TILE, LANES, grad)


@kernel
def add_over_positions(
    grad_logits: Pointer,
    keys: Pointer,
    q_table: Pointer,
    table_pitch: int,
    by_key: Pointer,
    by_table: Pointer,
    start: int,
    stop: int,
    head_dim: int,
) -> None:
    """Both parts of the gradients of four queries; `q_table` is at position 0 for the first of them."""
    width = head_dim * LANES
    for d in range(head_dim):
        row = simd.advance(q_table, d * table_pitch)
        of_keys = simd.fill_tile(keys, 0.0)
        of_rows = simd.fill_tile(keys, 0.0)
        relative = simd.splat_rows(row, start - 1, -1)
        for p in range(start, stop):
            relative = simd.shift_down(relative, simd.fill(row, simd.load_scalar(row, p)))
            grad = simd.load_rows(grad_logits, p * TILE, LANES)
            of_keys = simd.fma(grad, simd.load(keys, p * width + d * LANES), of_keys)
            of_rows = simd.fma(grad, relative, of_rows)
        simd.store_rows(by_key, d * LANES, width, of_keys)
        simd.store_rows(by_table, d * LANES, width, of_rows)


@kernel
def add_over_queries(
    grad_logits: Pointer,
    pitch: int,
    queries: Pointer,
    k_table: Pointer,
    table_pitch: int,
    by_query: Pointer,
    by_table: Pointer,
    earliest: int,
    latest: int,
    head_dim: int,
) -> None:
    """Add to both parts of the gradients of four keys; `k_table` is at query 0 for the first of them.

    A row of four queries' gradients is `pitch` for each of them long.
    """
    width = head_dim * LANES
    for d in range(head_dim):
        table = simd.advance(k_table, d * table_pitch)
        of_queries = simd.load_rows(by_query, d * LANES, width)
        of_rows = simd.load_rows(by_table, d * LANES, width)
        relative = simd.splat_rows(table, 1 - earliest, 1)
        for tile in range(earliest, latest, ROWS):
            for row in range(ROWS):
                o = tile + row
                relative = simd.shift_down(relative, simd.fill(table, simd.load_scalar(table, -o)))
                grad = simd.load_rows(grad_logits, tile * pitch + row * LANES, TILE)
                of_queries = simd.fma(grad, simd.load(queries, o * width + d * LANES), of_queries)
                of_rows = simd.fma(grad, relative, of_rows)
        simd.store_rows(by_query, d * LANES, width, of_queries)
        simd.store_rows(by_table, d * LANES, width, of_rows)


@inlined
def add_values(
    weights: Pointer,
    pitch: int,
    row_pitch: int,
    grads: Pointer,
    total: Pointer,
    earliest: int,
    latest: int,
    value_dim: int,
) -> None:
    """Add rows of gradients, times four neighboring weights, to four sums: of values or of relative values.

    Channels are taken two at a time: the sums of one do not hide the latency of an addition.
    """
    width = value_dim * LANES
    for c in range(0, value_dim, 2):
        second_channel = min(c + 1, value_dim - 1) * LANES
        first = simd.load_rows(total, c * LANES, width)
        second = simd.load_rows(total, second_channel, width)
        for tile in range(earliest, latest, ROWS):
            for row in range(ROWS):
                weight = simd.load_rows(weights, tile * pitch + row * row_pitch, TILE)
                at = (tile + row) * width
                first = simd.fma(weight, simd.load(grads, at + c * LANES), first)
                second = simd.fma(weight, simd.load(grads, at + second_channel), second)
        simd.store_rows(total, c * LANES, width, first)
        simd.store_rows(total, second_channel, width, second)


@kernel
def add_along_diagonals(
    grad_logits: Pointer,
    pitch: int,
    queries: Pointer,
    keys: Pointer,
    query_scale: Vector,
    key_scale: Vector,
    q_table_grad: Pointer,
    k_table_grad: Pointer,
    earliest: int,
    latest: int,
    head_dim: int,
) -> None:
    """Add to the gradients of r^q and r^k for four distances; `keys` is the key of query 0."""
    width = head_dim * LANES
    for d in range(head_dim):
        of_queries = simd.fill_tile(queries, 0.0)
        of_keys = simd.fill_tile(queries, 0.0)
        key = simd.load_rows(keys, (earliest - 1) * width + d * LANES, width)
        for tile in range(earliest, latest, ROWS):
            for row in range(ROWS):
                o = tile + row
                key = simd.shift_up(key, simd.load(keys, (o + ROWS - 1) * width + d * LANES))
                grad = simd.load_rows(grad_logits, tile * pitch + row * (TILE + LANES), TILE)
                of_queries = simd.fma(grad, simd.load(queries, o * width + d * LANES), of_queries)
                of_keys = simd.fma(grad, key, of_keys)
        total = simd.load_rows(q_table_grad, d * LANES, width)
        simd.store_rows(q_table_grad, d * LANES, width, simd.fma(of_queries, query_scale, total))
        total = simd.load_rows(k_table_grad, d * LANES, width)
        simd.store_rows(k_table_grad, d * LANES, width, simd.fma(of_keys, key_scale, total))


@kernel
def add_products(a: Pointer, b: Pointer, size: int, total: Pointer) -> None:
    """Add the products of the vectors in `size` numbers to one vector."""
    products = simd.load(total, 0)
    for i in range(0, size, LANES):
        products = simd.fma(simd.load(a, i), simd.load(b, i), products)
    simd.store(total, 0, products)


@kernel
def add_scaled(target: Pointer, scale: Pointer, other: Pointer, other_scale: Pointer, size: int) -> None:
    """Set the vectors in `size` numbers to themselves and others, each times a vector."""
    for i in range(0, size, LANES):
        scaled = simd.multiply(simd.load(other, i), simd.load(other_scale, 0))
        simd.store(target, i, simd.fma(simd.load(target, i), simd.load(scale, 0), scaled))


@kernel
def sum_table_grads(arguments: Pointer, lane_grads: Pointer, target: Pointer) -> None:
    """Set the gradients of the distances of the three tables to the sums of their lanes."""
    _, reach, head_dim, value_dim = layout.lengths(arguments)
    source = lane_grads
    for width in (head_dim, head_dim, value_dim):
        for i in range((2 * reach + 1) * width):
            simd.store_scalar(
                target, i, simd.sum_lanes(simd.load(source, (layout.MARGIN * width + i) * LANES))
            )
        target = simd.advance(target, (2 * reach + 1) * width)
        source = simd.advance(source, layout.table_rows(reach) * width * LANES)


@merged
def backward(address: int, like: Scalar) -> None:
    """What one thread does: take chunks of bundles until none is left. Each has its own table gradients."""
    arguments = simd.pointer_like(address, address)
    lane_grads, starts = bundles.memory_of_thread(arguments, like)
    following = simd.advance(starts, layout.TENSORS * LANES)
    _, reach, head_dim, value_dim = layout.lengths(arguments)
    width = 2 * head_dim + value_dim
    lane_grads_size = layout.table_rows(reach) * width * LANES
    scratch = simd.advance(lane_grads, lane_grads_size)
    bundle_count = (simd.load_scalar(arguments, layout.UNITS) + LANES - 1) // LANES
    chunks = simd.load_scalar(arguments, layout.CHUNKS)
    table_grads_size = simd.load_scalar(arguments, layout.TABLE_GRADS_SIZE)
    chunk = simd.take_ticket(simd.advance(arguments, layout.NEXT_CHUNK))
    while chunk < chunks:
        table_grads = simd.advance(
            layout.tensor_at(arguments, layout.TABLE_GRADS, like), chunk * table_grads_size
        )
        layout.clear(table_grads, table_grads_size)
        layout.clear(lane_grads, lane_grads_size)
        scale_grads = simd.advance(table_grads, (2 * reach + 1) * width)
        stop = bundle_count * (chunk + 1) // chunks
        for bundle in range(bundle_count * chunk // chunks, stop):
            if bundle + 1 < stop:
                bundles.find_starts(arguments, bundle + 1, following)
                bundles.prefetch_bundle(arguments, layout.TENSORS, following, like)
            bundles.find_starts(arguments, bundle, starts)
            backward_bundle(arguments, bundle, starts, scratch, lane_grads, scale_grads, like)
        sum_table_grads(arguments, lane_grads, table_grads)
        chunk = simd.take_ticket(simd.advance(arguments, layout.NEXT_CHUNK))
