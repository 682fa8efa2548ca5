"""The backward kernel: all gradients of one unit, pair of tiles by pair of tiles, weights computed again."""

import triton
import triton.language as tl

from axial_deeplab.ops.triton.tiles import (
    SIZES,
    band_distances,
    distances_of_keys,
    distances_of_queries,
    load_bands,
    load_rows,
    load_scales,
    logits_of_tile,
    offset_of_unit,
    pair_indices,
    pairs_of_queries,
    place_of_unit,
    product,
    row_mask,
    row_offsets,
)


@triton.jit(do_not_specialize=SIZES)
def backward_kernel(
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
    grad_content,
    grad_content_strides,
    grad_positional,
    grad_positional_strides,
    grad_q,
    grad_q_strides,
    grad_k,
    grad_k_strides,
    grad_v,
    grad_v_strides,
    grad_rel_q,
    grad_rel_k,
    grad_rel_v,
    grad_scales,
    corrections,
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
    """Write the gradients of q, k and v, and what a program or unit adds to those of the tables and scales.

    A program owns its units, so nothing is added atomically: the gradients of the tables are sums of one
    program, [programs, 2 reach + 1, channels], those of the scales of one unit, [units, 3]. An axis of
    several tiles adds to grad_q (float32, zeros before) and to the sums in memory, where one tile keeps them
    in registers. `corrections` [units, length] is room for the sum over p of weight and its gradient.
    """
    DTYPE: tl.constexpr = q.dtype.element_ty
    first_unit = tl.program_id(0) * units_in_program
    rows = 2 * reach + 1
    key_rows = tl.program_id(0).to(tl.int64) * rows * HEAD_DIM
    value_rows = tl.program_id(0).to(tl.int64) * rows * VALUE_DIM
    band_q_grad = tl.zeros([2 * BLOCK, D], tl.float32)
    band_k_grad = tl.zeros([2 * BLOCK, D], tl.float32)
    band_v_grad = tl.zeros([2 * BLOCK, V], tl.float32)
    indices = pair_indices(BLOCK)
    if ONE_TILE:
        bands = load_bands(rel_q, rel_k, rel_v, 0, 0, max_distance, HEAD_DIM, VALUE_DIM, D, V, BLOCK)

    for i in range(tl.minimum(units_in_program, units - first_unit)):
        unit = first_unit + i
        place = place_of_unit(unit, lines, heads)
        unit_q = q + offset_of_unit(place, q_strides, ALIGNMENT)
        unit_k = k + offset_of_unit(place, k_strides, ALIGNMENT)
        unit_v = v + offset_of_unit(place, v_strides, ALIGNMENT)
        unit_grad_content = grad_content + offset_of_unit(place, grad_content_strides, ALIGNMENT)
        if rel_v is not None:
            unit_grad_positional = grad_positional + offset_of_unit(place, grad_positional_strides, ALIGNMENT)
        unit_grad_q = grad_q + offset_of_unit(place, grad_q_strides, ALIGNMENT)
        unit_grad_k = grad_k + offset_of_unit(place, grad_k_strides, ALIGNMENT)
        unit_grad_v = grad_v + offset_of_unit(place, grad_v_strides, ALIGNMENT)
        unit_statistics = statistics + 2 * unit.to(tl.int64) * length
        scales = load_scales(logit_scale, place[2], heads)
        scale_grad_qk = 0.0
        scale_grad_q = 0.0
        scale_grad_k = 0.0

        if not ONE_TILE:
            unit_corrections = corrections + unit.to(tl.int64) * length
            unit_outputs = offset_of_unit(place, output_strides, ALIGNMENT)
            for query in range(0, length, BLOCK):
                o = query + tl.arange(0, BLOCK)
                grads = load_rows(unit_grad_content, o, grad_content_strides, length, VALUE_DIM, V, ALIGNMENT)
                outputs = load_rows(
                    content + unit_outputs, o, output_strides, length, VALUE_DIM, V, ALIGNMENT
                )
                correction = tl.sum(grads.to(tl.float32) * outputs.to(tl.float32), 1)
                if rel_v is not None:
                    grads = load_rows(
                        unit_grad_positional, o, grad_positional_strides, length, VALUE_DIM, V, ALIGNMENT
                    )
                    outputs = load_rows(
                        positional + unit_outputs, o, output_strides, length, VALUE_DIM, V, ALIGNMENT
                    )
                    correction += tl.sum(grads.to(tl.float32) * outputs.to(tl.float32), 1)
                tl.store(unit_corrections + o, correction, mask=o < length)
            tl.debug_barrier()

        for key in range(0, BLOCK if ONE_TILE else length, BLOCK):
            p = key + tl.arange(0, BLOCK)
            keys = load_rows(unit_k, p, k_strides, length, HEAD_DIM, D, ALIGNMENT)
            values = load_rows(unit_v, p, v_strides, length, VALUE_DIM, V, ALIGNMENT)
            keys_grad = tl.zeros([BLOCK, D], tl.float32)
            keys_grad_relative = tl.zeros([BLOCK, D], tl.float32)
            values_grad = tl.zeros([BLOCK, V], tl.float32)
            first_query = 0 if ONE_TILE else tl.maximum(key - reach, 0) // BLOCK * BLOCK
            behind_query = BLOCK if ONE_TILE else tl.minimum(key + BLOCK + reach, length)

            for query in range(first_query, behind_query, BLOCK):
                o = query + tl.arange(0, BLOCK)
                queries = load_rows(unit_q, o, q_strides, length, HEAD_DIM, D, ALIGNMENT)
                content_grad = load_rows(
                    unit_grad_content, o, grad_content_strides, length, VALUE_DIM, V, ALIGNMENT
                )
                if ONE_TILE:
                    q_band, k_band, v_band = bands
                else:
                    q_band, k_band, v_band = load_bands(
                        rel_q, rel_k, rel_v, query, key, max_distance, HEAD_DIM, VALUE_DIM, D, V, BLOCK
                    )
                    band_rows = band_distances(query, key, BLOCK) + reach

                valid = (p < length)[None, :] & (o < length)[:, None]
                valid = valid & (tl.abs(p[None, :] - o[:, None]) <= reach)
                logits = logits_of_tile(
                    queries, keys, q_band, k_band, scales, valid, indices, BLOCK, DTYPE, INTERPRETED
                )
                if ONE_TILE:
                    maxima = tl.max(logits, 1)
                    maxima = tl.where(maxima == float("-inf"), 0.0, maxima)
                    weights = tl.exp2(logits - maxima[:, None])
                    sums = tl.sum(weights, 1)
                    norms = 1.0 / tl.where(o < length, sums, 1.0)
                else:
                    maxima = tl.load(unit_statistics + o, mask=o < length, other=0.0)
                    norms = tl.load(unit_statistics + length + o, mask=o < length, other=0.0)
                    exponents = logits - maxima[:, None]
                    # Huge logits have few digits: rounded otherwise than before, they would overflow.
                    weights = tl.exp2(tl.where(exponents > 0.0, 0.0, exponents))
                weights *= norms[:, None]

                none = tl.zeros([BLOCK, BLOCK], tl.float32)
                weights_grad = product(content_grad, tl.trans(values), none, DTYPE, INTERPRETED)
                values_grad = product(tl.trans(weights), content_grad, values_grad, DTYPE, INTERPRETED)
                if rel_v is not None:
                    positional_grad = load_rows(
                        unit_grad_positional, o, grad_positional_strides, length, VALUE_DIM, V, ALIGNMENT
                    )
                    none = tl.zeros([BLOCK, 2 * BLOCK], tl.float32)
                    by_distance = product(positional_grad, tl.trans(v_band), none, DTYPE, INTERPRETED)
                    weights_grad += pairs_of_queries(by_distance, indices, BLOCK)
                    by_distance = tl.trans(distances_of_queries(weights.to(DTYPE), BLOCK))
                    if ONE_TILE:
                        band_v_grad = product(by_distance, positional_grad, band_v_grad, DTYPE, INTERPRETED)
                    else:
                        none = tl.zeros([2 * BLOCK, V], tl.float32)
                        band_grad = product(by_distance, positional_grad, none, DTYPE, INTERPRETED)
                        add_to_rows(grad_rel_v + value_rows, band_rows, rows, band_grad, VALUE_DIM, V)

                if ONE_TILE:
                    correction = tl.sum(weights * weights_grad, 1)
                else:
                    correction = tl.load(unit_corrections + o, mask=o < length, other=0.0)
                logits_grad = tl.where(valid, weights * (weights_grad - correction[:, None]), 0.0).to(DTYPE)

                none = tl.zeros([BLOCK, D], tl.float32)
                by_key = product(logits_grad, keys, none, DTYPE, INTERPRETED)
                scale_grad_qk += tl.sum(by_key * queries.to(tl.float32))
                queries_grad = by_key * scales[0]
                keys_grad = product(tl.trans(logits_grad), queries, keys_grad, DTYPE, INTERPRETED)
                if rel_q is not None:
                    by_distance = distances_of_queries(logits_grad, BLOCK)
                    by_band = product(by_distance, q_band, none, DTYPE, INTERPRETED)
                    scale_grad_q += tl.sum(by_band * queries.to(tl.float32))
                    queries_grad += by_band * scales[1]
                    none_band = tl.zeros([2 * BLOCK, D], tl.float32)
                    band_grad = product(tl.trans(by_distance), queries, none_band, DTYPE, INTERPRETED)
                    if ONE_TILE:
                        band_q_grad += band_grad * scales[1]
                    else:
                        band_grad *= scales[1]
                        add_to_rows(grad_rel_q + key_rows, band_rows, rows, band_grad, HEAD_DIM, D)
                if rel_k is not None:
                    by_distance = distances_of_keys(logits_grad, BLOCK)
                    keys_grad_relative = product(by_distance, k_band, keys_grad_relative, DTYPE, INTERPRETED)
                    none_band = tl.zeros([2 * BLOCK, D], tl.float32)
                    band_grad = product(tl.trans(by_distance), keys, none_band, DTYPE, INTERPRETED)
                    if ONE_TILE:
                        band_k_grad += band_grad * scales[2]
                    else:
                        band_grad *= scales[2]
                        add_to_rows(grad_rel_k + key_rows, band_rows, rows, band_grad, HEAD_DIM, D)

                mask = row_mask(o, length, HEAD_DIM, D)
                offsets = row_offsets(o, grad_q_strides, D, ALIGNMENT)
                if ONE_TILE:
                    tl.store(unit_grad_q + offsets, queries_grad.to(grad_q.dtype.element_ty), mask=mask)
                else:
                    queries_grad += tl.load(unit_grad_q + offsets, mask=mask, other=0.0)
                    tl.store(unit_grad_q + offsets, queries_grad, mask=mask)
                    # The next pair of tiles adds to the same rows of grad_q and of the tables' sums.
                    tl.debug_barrier()

            scale_grad_k += tl.sum(keys_grad_relative * keys.to(tl.float32))
            keys_grad = keys_grad * scales[0] + keys_grad_relative * scales[2]
            mask = row_mask(p, length, HEAD_DIM, D)
            offsets = row_offsets(p, grad_k_strides, D, ALIGNMENT)
            tl.store(unit_grad_k + offsets, keys_grad.to(grad_k.dtype.element_ty), mask=mask)
            mask = row_mask(p, length, VALUE_DIM, V)
            offsets = row_offsets(p, grad_v_strides, V, ALIGNMENT)
            tl.store(unit_grad_v + offsets, values_grad.to(grad_v.dtype.element_ty), mask=mask)

        if grad_scales is not None:
            unit_scales = grad_scales + unit.to(tl.int64) * 3
            tl.store(unit_scales, scale_grad_qk)
            tl.store(unit_scales + 1, scale_grad_q)
            tl.store(unit_scales + 2, scale_grad_k)

    if ONE_TILE:
        band_rows = band_distances(0, 0, BLOCK) + reach
        if rel_q is not None:
            add_to_rows(grad_rel_q + key_rows, band_rows, rows, band_q_grad, HEAD_DIM, D)
        if rel_k is not None:
            add_to_rows(grad_rel_k + key_rows, band_rows, rows, band_k_grad, HEAD_DIM, D)
        if rel_v is not None:
            add_to_rows(grad_rel_v + value_rows, band_rows, rows, band_v_grad, VALUE_DIM, V)


@triton.jit
def add_to_rows(sums, band_rows, rows, grads, CHANNELS: tl.constexpr, WIDTH: tl.constexpr):
    """Add the gradients of a band's rows to the sums [rows, CHANNELS] of this program."""
    channels = tl.arange(0, WIDTH)
    offsets = band_rows[:, None] * CHANNELS + channels[None, :]
    mask = ((band_rows >= 0) & (band_rows < rows))[:, None] & (channels < CHANNELS)[None, :]
    tl.store(sums + offsets, grads + tl.load(sums + offsets, mask=mask, other=0.0), mask=mask)
