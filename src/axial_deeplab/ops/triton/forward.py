"""The forward kernel: one tile of queries at a time, over the tiles of keys that its span reaches."""

import triton
import triton.language as tl

from axial_deeplab.ops.triton.tiles import (
    SIZES,
    distances_of_queries,
    load_bands,
    load_rows,
    load_scales,
    logits_of_tile,
    offset_of_unit,
    pair_indices,
    place_of_unit,
    product,
    row_mask,
    row_offsets,
)


@triton.jit(do_not_specialize=SIZES)
def forward_kernel(
    q,
    q_strides,
    k,
    k_strides,
    v,
    v_strides,
    rel_q,
    rel_k,
    rel_v,
    logit_scale,
    content,
    positional,
    output_strides,
    statistics,
    positional_scale,
    units,
    units_in_program,
    length,
    lines,
    heads,
    reach,
    max_distance,
    HEAD_DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    D: tl.constexpr,
    V: tl.constexpr,
    BLOCK: tl.constexpr,
    ONE_TILE: tl.constexpr,
    ALIGNMENT: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """Write both outputs, or their sum if there is a `positional_scale`, and the statistics if there is room.

    These are [units, 2, length]: the largest logit, and 1 over the sum of 2^(logit - largest) over the keys.

    D and V are HEAD_DIM and VALUE_DIM padded to a power of two. A program takes one tile of queries of
    several units, one after the other: the heads of a line lie together in memory. ONE_TILE says that the
    axis fits into one tile; the bands of the tables are then loaded once for all units of a program.
    """
    DTYPE: tl.constexpr = q.dtype.element_ty
    query_tiles = tl.cdiv(length, BLOCK)
    first_unit = tl.program_id(0) // query_tiles * units_in_program
    first_query = 0 if ONE_TILE else tl.program_id(0) % query_tiles * BLOCK
    o = first_query + tl.arange(0, BLOCK)
    first_key = 0 if ONE_TILE else tl.maximum(first_query - reach, 0) // BLOCK * BLOCK
    behind_key = BLOCK if ONE_TILE else tl.minimum(first_query + BLOCK + reach, length)

    indices = pair_indices(BLOCK)
    if ONE_TILE:
        bands = load_bands(rel_q, rel_k, rel_v, 0, 0, max_distance, HEAD_DIM, VALUE_DIM, D, V, BLOCK)

    for i in range(tl.minimum(units_in_program, units - first_unit)):
        unit = first_unit + i
        place = place_of_unit(unit, lines, heads)
        unit_q = q + offset_of_unit(place, q_strides, ALIGNMENT)
        unit_k = k + offset_of_unit(place, k_strides, ALIGNMENT)
        unit_v = v + offset_of_unit(place, v_strides, ALIGNMENT)
        scales = load_scales(logit_scale, place[2], heads)
        queries = load_rows(unit_q, o, q_strides, length, HEAD_DIM, D, ALIGNMENT)
        maxima = tl.full([BLOCK], float("-inf"), tl.float32)
        sums = tl.zeros([BLOCK], tl.float32)
        by_value = tl.zeros([BLOCK, V], tl.float32)
        by_table = tl.zeros([BLOCK, V], tl.float32)

        for key in range(first_key, behind_key, BLOCK):
            p = key + tl.arange(0, BLOCK)
            keys = load_rows(unit_k, p, k_strides, length, HEAD_DIM, D, ALIGNMENT)
            values = load_rows(unit_v, p, v_strides, length, VALUE_DIM, V, ALIGNMENT)
            if ONE_TILE:
                q_band, k_band, v_band = bands
            else:
                q_band, k_band, v_band = load_bands(
                    rel_q, rel_k, rel_v, first_query, key, max_distance, HEAD_DIM, VALUE_DIM, D, V, BLOCK
                )
            valid = (p < length)[None, :] & (tl.abs(p[None, :] - o[:, None]) <= reach)
            logits = logits_of_tile(
                queries, keys, q_band, k_band, scales, valid, indices, BLOCK, DTYPE, INTERPRETED
            )

            new_maxima = tl.maximum(maxima, tl.max(logits, 1))
            # A tile may lie outside the span of some of its queries: -inf - -inf would be NaN.
            finite_maxima = tl.where(new_maxima == float("-inf"), 0.0, new_maxima)
            weights = tl.exp2(logits - finite_maxima[:, None])
            decay = tl.exp2(maxima - finite_maxima)
            sums = sums * decay + tl.sum(weights, 1)
            maxima = new_maxima
            by_value = product(weights, values, by_value * decay[:, None], DTYPE, INTERPRETED)
            if rel_v is not None:
                by_distance = distances_of_queries(weights.to(DTYPE), BLOCK)
                by_table = product(by_distance, v_band, by_table * decay[:, None], DTYPE, INTERPRETED)

        mask = row_mask(o, length, VALUE_DIM, V)
        offsets = offset_of_unit(place, output_strides, ALIGNMENT)
        offsets += row_offsets(o, output_strides, V, ALIGNMENT)
        norms = 1.0 / sums
        by_value *= norms[:, None]
        by_table *= norms[:, None]
        if positional_scale is not None:
            channels = tl.arange(0, V)
            factors = positional_scale + place[2] * VALUE_DIM + channels
            by_value += by_table * tl.load(factors, mask=channels < VALUE_DIM, other=0.0)[None, :]
        elif rel_v is not None:
            tl.store(positional + offsets, by_table.to(DTYPE), mask=mask)
        tl.store(content + offsets, by_value.to(DTYPE), mask=mask)
        if statistics is not None:
            row = statistics + 2 * unit.to(tl.int64) * length
            tl.store(row + o, maxima, mask=o < length)
            tl.store(row + length + o, norms, mask=o < length)
