"""The backward kernel.

As in the forward kernel, a thread takes one bundle of units at a time. The weights of a block of queries
are computed again from the largest logit of each query, which makes them equal to those of the forward pass
to the last bit, and their gradients beside them. Then each gradient is a sum over the block, four queries,
positions or distances at a time: what they share is loaded once, and relative rows slide from row to row of a
tile. The gradients of the tables keep their lanes until the last bundle of a chunk.
"""

from axial_deeplab.ops.cpu_kernels.bundles import (
    CHANNELS_IN_A_SUM,
    POSITIONS_IN_A_SUM,
    clear_lanes,
    find_scales,
    find_starts,
    pack,
    pair_of_logits,
    prefetch_bundle,
    scaled_keys,
    scaled_queries,
    scratch_of_ticket,
    starts_of_ticket,
    units_in,
    unpack,
)
from axial_deeplab.ops.cpu_kernels.layout import (
    BLOCK,
    CHUNKS,
    CONTENT,
    GRAD_K,
    GRAD_Q,
    GRAD_V,
    HEAD_DIM,
    HEADS,
    LENGTH,
    MARGIN,
    MAXIMA,
    NEXT_CHUNK,
    NEXT_THREAD,
    POSITIONAL,
    REACH,
    TABLE_GRADS,
    TABLE_GRADS_SIZE,
    TABLES,
    TENSORS,
    UNITS,
    VALUE_DIM,
    K,
    Pointer,
    Q,
    Scalar,
    Tile,
    V,
    Vector,
    clear,
    inlined,
    kernel,
    merged,
    table_rows,
    weights_pitch,
    whole_tiles,
)
from axial_deeplab.ops.cpu_kernels.simd import (
    LANES,
    ROWS,
    TILE,
    add,
    advance,
    exp2,
    fill,
    fill_tile,
    fma,
    keep_rows,
    load,
    load_rows,
    load_scalar,
    multiply,
    pointer_like,
    reciprocal,
    shift_down,
    shift_up,
    splat_rows,
    store,
    store_rows,
    store_scalar,
    subtract,
    sum_lanes,
    take_ticket,
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
    length, reach = load_scalar(arguments, LENGTH), load_scalar(arguments, REACH)
    head_dim, value_dim = load_scalar(arguments, HEAD_DIM), load_scalar(arguments, VALUE_DIM)
    rows = whole_tiles(length)
    pitch = weights_pitch(length) * LANES
    key_width, value_width = head_dim * LANES, value_dim * LANES
    units = units_in(arguments, bundle)

    # Padding stays zero: nothing but the first `length` rows is ever packed.
    scales = scratch
    bundle_scale_grads = advance(scales, 3 * LANES)
    queries = advance(bundle_scale_grads, 3 * LANES)
    raw_keys = advance(queries, (rows + MARGIN) * key_width)
    keys = advance(raw_keys, (rows + MARGIN) * key_width)
    values = advance(keys, 2 * (rows + MARGIN) * key_width)
    grad_content = advance(values, (rows + MARGIN) * value_width)
    grad_positional = advance(grad_content, rows * value_width)
    grad_keys = advance(grad_positional, rows * value_width)
    grad_keys_relative = advance(grad_keys, (rows + MARGIN) * key_width)
    grad_values = advance(grad_keys_relative, (rows + MARGIN) * key_width)
    query_tile = advance(grad_values, (rows + MARGIN) * value_width)
    grad_tile = advance(query_tile, 2 * head_dim * TILE)
    grad_queries = advance(grad_tile, 2 * value_dim * TILE)
    grad_queries_relative = advance(grad_queries, head_dim * TILE)
    # Addresses of weights are those of position 0.
    weights = advance(grad_queries_relative, head_dim * TILE + MARGIN * TILE)
    grad_logits = advance(weights, BLOCK * pitch)

    # Addresses of tables and of their gradients are those of distance 0.
    table_pitch = table_rows(reach)
    q_table = advance(pointer_like(load_scalar(arguments, TABLES), like), MARGIN + reach)
    k_table = advance(q_table, table_pitch * head_dim)
    v_table = advance(k_table, table_pitch * head_dim)
    q_table_grad = advance(lane_grads, (MARGIN + reach) * key_width)
    k_table_grad = advance(q_table_grad, table_pitch * key_width)
    v_table_grad = advance(lane_grads, 2 * table_pitch * key_width + (MARGIN + reach) * value_width)

    find_scales(arguments, bundle, scales, like)
    query_scale, key_scale = advance(scales, LANES), advance(scales, 2 * LANES)
    pack(arguments, Q, starts, queries, head_dim, like)
    pack(arguments, K, starts, raw_keys, head_dim, like)
    scaled_keys(raw_keys, length * head_dim, key_scale, keys)
    pack(arguments, V, starts, values, value_dim, like)
    pack(arguments, CONTENT, starts, grad_content, value_dim, like)
    pack(arguments, POSITIONAL, starts, grad_positional, value_dim, like)
    clear_lanes(grad_content, length * value_dim, units)
    clear_lanes(grad_positional, length * value_dim, units)
    clear(grad_keys, (rows + MARGIN) * (2 * key_width + value_width))
    clear(bundle_scale_grads, 3 * LANES)
    maxima = advance(pointer_like(load_scalar(arguments, MAXIMA), like), bundle * rows * LANES)

    local = reach < length - 1
    zero = fill_tile(scratch, 0.0)
    for first in range(0, length, BLOCK):
        last = min(first + BLOCK, rows)
        for o in range(first, last, ROWS):
            start = max(0, o - reach)
            stop = min(length, o + ROWS + reach)
            row_count = min(ROWS, length - o)
            tile_weights = advance(weights, (o - first) * pitch)
            tile_grads = advance(grad_logits, (o - first) * pitch)
            scaled_queries(advance(queries, o * key_width), head_dim, scales, query_tile)
            copy_to_tile(advance(grad_content, o * value_width), value_dim, grad_tile)
            copy_to_tile(advance(grad_positional, o * value_width), value_dim, advance(grad_tile, TILE))
            largest = load_rows(maxima, o * LANES, LANES)
            for p in range(start, stop, 2):
                weight, following = pair_of_logits(
                    query_tile,
                    advance(keys, 2 * p * key_width),
                    advance(q_table, p - o),
                    advance(k_table, p - o),
                    table_pitch,
                    head_dim,
                    1,
                )
                if local:
                    weight = keep_rows(weight, p - o + reach, 1, 2 * reach)
                    following = keep_rows(following, p + 1 - o + reach, 1, 2 * reach)
                grad_weight, grad_following = pair_of_weight_gradients(
                    grad_tile,
                    advance(values, p * value_width),
                    advance(v_table, p - o),
                    table_pitch,
                    value_dim,
                )
                weight = exp2(subtract(weight, largest))
                following = exp2(subtract(following, largest))
                store_rows(tile_weights, p * TILE, LANES, weight)
                store_rows(tile_weights, (p + 1) * TILE, LANES, following)
                store_rows(tile_grads, p * TILE, LANES, grad_weight)
                store_rows(tile_grads, (p + 1) * TILE, LANES, grad_following)
            normalize(tile_weights, tile_grads, start, stop)
            for p in range(start, stop):
                for row in range(row_count, ROWS):
                    store(tile_weights, p * TILE + row * LANES, fill(scratch, 0.0))
                    store(tile_grads, p * TILE + row * LANES, fill(scratch, 0.0))
            # All that a whole axis leaves behind its positions is the second of a pair.
            for i in range(MARGIN if local else 1):
                for p in (start - 1 - i, stop + i):
                    store_rows(tile_weights, p * TILE, LANES, zero)
                    store_rows(tile_grads, p * TILE, LANES, zero)

            add_over_positions(
                tile_grads,
                raw_keys,
                advance(q_table, -o),
                table_pitch,
                grad_queries,
                grad_queries_relative,
                start,
                stop,
                head_dim,
            )
            size = row_count * key_width
            tile = advance(queries, o * key_width)
            add_products(tile, grad_queries, size, bundle_scale_grads)
            add_products(tile, grad_queries_relative, size, advance(bundle_scale_grads, LANES))
            add_scaled(grad_queries, scales, grad_queries_relative, query_scale, size)
            unpack(arguments, GRAD_Q, starts, grad_queries, o, row_count, head_dim, units, like)

        start = max(0, first - reach)
        stop = min(length, last + reach)
        # Rows of weights are addressed by the query.
        block_weights = advance(weights, -first * pitch)
        block_grads = advance(grad_logits, -first * pitch)
        for p in range(start, stop, ROWS):
            earliest = whole_tiles(max(first, p - reach) - ROWS + 1)
            latest = min(last, p + ROWS + reach)
            add_over_queries(
                advance(block_grads, p * TILE),
                pitch,
                queries,
                advance(k_table, p),
                table_pitch,
                advance(grad_keys, p * key_width),
                advance(grad_keys_relative, p * key_width),
                earliest,
                latest,
                head_dim,
            )
            add_values(
                advance(block_weights, p * TILE),
                pitch,
                LANES,
                grad_content,
                advance(grad_values, p * value_width),
                earliest,
                latest,
                value_dim,
            )
        for distance in range(max(-reach, start + 1 - last), min(reach, stop - 1 - first) + 1, ROWS):
            earliest = whole_tiles(max(first, start + 1 - ROWS - distance) - ROWS + 1)
            latest = min(last, stop - distance)
            add_along_diagonals(
                advance(block_grads, distance * TILE),
                pitch + TILE,
                queries,
                advance(raw_keys, distance * key_width),
                load(query_scale, 0),
                load(key_scale, 0),
                advance(q_table_grad, distance * key_width),
                advance(k_table_grad, distance * key_width),
                earliest,
                latest,
                head_dim,
            )
            add_values(
                advance(block_weights, distance * TILE),
                pitch + TILE,
                TILE + LANES,
                grad_positional,
                advance(v_table_grad, distance * value_width),
                earliest,
                latest,
                value_dim,
            )

    add_products(raw_keys, grad_keys_relative, length * key_width, advance(bundle_scale_grads, 2 * LANES))
    add_scaled(grad_keys, scales, grad_keys_relative, key_scale, length * key_width)
    unpack(arguments, GRAD_K, starts, grad_keys, 0, length, head_dim, units, like)
    unpack(arguments, GRAD_V, starts, grad_values, 0, length, value_dim, units, like)
    heads = load_scalar(arguments, HEADS)
    for term in range(3):
        for lane in range(units):
            at = term * heads + (bundle * LANES + lane) % heads
            grad = load_scalar(bundle_scale_grads, term * LANES + lane)
            store_scalar(scale_grads, at, load_scalar(scale_grads, at) + grad)


@kernel
def copy_to_tile(rows: Pointer, width: int, tile: Pointer) -> None:
    """Copy four rows (ROWS, width) of vectors to (width, 2, ROWS)."""
    for c in range(width):
        store_rows(tile, 2 * c * TILE, LANES, load_rows(rows, c * LANES, width * LANES))


@inlined
def pair_of_weight_gradients(
    grad_tile: Pointer, values: Pointer, v_table: Pointer, table_pitch: int, value_dim: int
) -> tuple[Tile, Tile]:
    """The gradients of the weights of four queries for a position and for the next one."""
    following_values = advance(values, value_dim * LANES)
    first_total = fill_tile(values, 0.0)
    second_total = fill_tile(values, 0.0)
    for piece in range(0, value_dim, CHANNELS_IN_A_SUM):
        first = fill_tile(values, 0.0)
        second = fill_tile(values, 0.0)
        for c in range(piece, min(piece + CHANNELS_IN_A_SUM, value_dim)):
            grad = load_rows(grad_tile, 2 * c * TILE, LANES)
            first = fma(grad, load(values, c * LANES), first)
            second = fma(grad, load(following_values, c * LANES), second)
            grad = load_rows(grad_tile, (2 * c + 1) * TILE, LANES)
            relative = splat_rows(v_table, c * table_pitch, -1)
            first = fma(grad, relative, first)
            following = fill(v_table, load_scalar(v_table, c * table_pitch + 1))
            second = fma(grad, shift_down(relative, following), second)
        first_total = add(first_total, first)
        second_total = add(second_total, second)
    return first_total, second_total


@kernel
def normalize(weights: Pointer, grads: Pointer, start: int, stop: int) -> None:
    """Divide the weights of four queries by their sums; turn their gradients into those of the logits."""
    total = fill_tile(weights, 0.0)
    delta = fill_tile(weights, 0.0)
    for first in range(start, stop, POSITIONS_IN_A_SUM):
        partial_total = fill_tile(weights, 0.0)
        partial_delta = fill_tile(weights, 0.0)
        for p in range(first, min(first + POSITIONS_IN_A_SUM, stop)):
            weight = load_rows(weights, p * TILE, LANES)
            partial_total = add(partial_total, weight)
            partial_delta = fma(weight, load_rows(grads, p * TILE, LANES), partial_delta)
        total = add(total, partial_total)
        delta = add(delta, partial_delta)
    norm = reciprocal(total)
    delta = multiply(delta, norm)
    for p in range(start, stop):
        weight = multiply(load_rows(weights, p * TILE, LANES), norm)
        grad = multiply(weight, subtract(load_rows(grads, p * TILE, LANES), delta))
        store_rows(weights, p * TILE, LANES, weight)
        store_rows(grads, p * TILE, LANES, grad)


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
        row = advance(q_table, d * table_pitch)
        of_keys = fill_tile(keys, 0.0)
        of_rows = fill_tile(keys, 0.0)
        relative = splat_rows(row, start - 1, -1)
        for p in range(start, stop):
            relative = shift_down(relative, fill(row, load_scalar(row, p)))
            grad = load_rows(grad_logits, p * TILE, LANES)
            of_keys = fma(grad, load(keys, p * width + d * LANES), of_keys)
            of_rows = fma(grad, relative, of_rows)
        store_rows(by_key, d * LANES, width, of_keys)
        store_rows(by_table, d * LANES, width, of_rows)


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
        table = advance(k_table, d * table_pitch)
        of_queries = load_rows(by_query, d * LANES, width)
        of_rows = load_rows(by_table, d * LANES, width)
        relative = splat_rows(table, 1 - earliest, 1)
        for tile in range(earliest, latest, ROWS):
            for row in range(ROWS):
                o = tile + row
                relative = shift_down(relative, fill(table, load_scalar(table, -o)))
                grad = load_rows(grad_logits, tile * pitch + row * LANES, TILE)
                of_queries = fma(grad, load(queries, o * width + d * LANES), of_queries)
                of_rows = fma(grad, relative, of_rows)
        store_rows(by_query, d * LANES, width, of_queries)
        store_rows(by_table, d * LANES, width, of_rows)


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
        first = load_rows(total, c * LANES, width)
        second = load_rows(total, second_channel, width)
        for tile in range(earliest, latest, ROWS):
            for row in range(ROWS):
                weight = load_rows(weights, tile * pitch + row * row_pitch, TILE)
                at = (tile + row) * width
                first = fma(weight, load(grads, at + c * LANES), first)
                second = fma(weight, load(grads, at + second_channel), second)
        store_rows(total, c * LANES, width, first)
        store_rows(total, second_channel, width, second)


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
        of_queries = fill_tile(queries, 0.0)
        of_keys = fill_tile(queries, 0.0)
        key = load_rows(keys, (earliest - 1) * width + d * LANES, width)
        for tile in range(earliest, latest, ROWS):
            for row in range(ROWS):
                o = tile + row
                key = shift_up(key, load(keys, (o + ROWS - 1) * width + d * LANES))
                grad = load_rows(grad_logits, tile * pitch + row * (TILE + LANES), TILE)
                of_queries = fma(grad, load(queries, o * width + d * LANES), of_queries)
                of_keys = fma(grad, key, of_keys)
        total = load_rows(q_table_grad, d * LANES, width)
        store_rows(q_table_grad, d * LANES, width, fma(of_queries, query_scale, total))
        total = load_rows(k_table_grad, d * LANES, width)
        store_rows(k_table_grad, d * LANES, width, fma(of_keys, key_scale, total))


@kernel
def add_products(a: Pointer, b: Pointer, size: int, total: Pointer) -> None:
    """Add the products of the vectors in `size` numbers to one vector."""
    products = load(total, 0)
    for i in range(0, size, LANES):
        products = fma(load(a, i), load(b, i), products)
    store(total, 0, products)


@kernel
def add_scaled(target: Pointer, scale: Pointer, other: Pointer, other_scale: Pointer, size: int) -> None:
    """Set the vectors in `size` numbers to themselves and others, each times a vector."""
    for i in range(0, size, LANES):
        scaled = multiply(load(other, i), load(other_scale, 0))
        store(target, i, fma(load(target, i), load(scale, 0), scaled))


@kernel
def sum_table_grads(arguments: Pointer, lane_grads: Pointer, target: Pointer) -> None:
    """Set the gradients of the distances of the three tables to the sums of their lanes."""
    reach = load_scalar(arguments, REACH)
    head_dim, value_dim = load_scalar(arguments, HEAD_DIM), load_scalar(arguments, VALUE_DIM)
    source = lane_grads
    for width in (head_dim, head_dim, value_dim):
        for i in range((2 * reach + 1) * width):
            store_scalar(target, i, sum_lanes(load(source, (MARGIN * width + i) * LANES)))
        target = advance(target, (2 * reach + 1) * width)
        source = advance(source, table_rows(reach) * width * LANES)


@merged
def backward(address: int, like: Scalar) -> None:
    """What one thread does: take chunks of bundles until none is left. Each has its own table gradients."""
    arguments = pointer_like(address, address)
    ticket = take_ticket(advance(arguments, NEXT_THREAD))
    starts = starts_of_ticket(arguments, ticket)
    following = advance(starts, TENSORS * LANES)
    reach = load_scalar(arguments, REACH)
    width = 2 * load_scalar(arguments, HEAD_DIM) + load_scalar(arguments, VALUE_DIM)
    lane_grads = scratch_of_ticket(arguments, ticket, like)
    lane_grads_size = table_rows(reach) * width * LANES
    scratch = advance(lane_grads, lane_grads_size)
    bundles = (load_scalar(arguments, UNITS) + LANES - 1) // LANES
    chunks = load_scalar(arguments, CHUNKS)
    table_grads_size = load_scalar(arguments, TABLE_GRADS_SIZE)
    chunk = take_ticket(advance(arguments, NEXT_CHUNK))
    while chunk < chunks:
        table_grads = advance(
            pointer_like(load_scalar(arguments, TABLE_GRADS), like), chunk * table_grads_size
        )
        clear(table_grads, table_grads_size)
        clear(lane_grads, lane_grads_size)
        scale_grads = advance(table_grads, (2 * reach + 1) * width)
        stop = bundles * (chunk + 1) // chunks
        for bundle in range(bundles * chunk // chunks, stop):
            if bundle + 1 < stop:
                find_starts(arguments, bundle + 1, following)
                prefetch_bundle(arguments, TENSORS, following, like)
            find_starts(arguments, bundle, starts)
            backward_bundle(arguments, bundle, starts, scratch, lane_grads, scale_grads, like)
        sum_table_grads(arguments, lane_grads, table_grads)
        chunk = take_ticket(advance(arguments, NEXT_CHUNK))
