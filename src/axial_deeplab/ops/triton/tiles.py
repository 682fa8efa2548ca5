"""What the forward and the backward kernel share: loading tiles, relative logits, the shear.

A tile has BLOCK queries o and BLOCK keys p. It sees 2 BLOCK - 1 distances p - o; its band of a relative
table is their rows, one more to make a power of two. Products with the band, [BLOCK, 2 BLOCK], run on the
tensor cores; the shear then takes from row o the column of each p - o.
"""

import triton
import triton.language as tl

# Arguments of both kernels whose numbers shall not make Triton compile them again.
SIZES = ("units", "units_in_program", "length", "lines", "heads", "reach", "max_distance")


@triton.jit
def product(a, b, accumulator, DTYPE: tl.constexpr, INTERPRETED: tl.constexpr):
    """Return a @ b + accumulator in float32, of operands rounded to DTYPE."""
    a = a.to(DTYPE)
    b = b.to(DTYPE)
    if INTERPRETED:
        # NumPy has no bfloat16.
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, accumulator, input_precision="ieee")


@triton.jit
def place_of_unit(unit, lines, heads):
    """Return the image, the line and the head of a unit: one head of one line of one image."""
    return (unit // heads // lines).to(tl.int64), (unit // heads % lines).to(tl.int64), unit % heads


@triton.jit
def offset_of_unit(place, strides, ALIGNMENT: tl.constexpr):
    """Return the offset in (B, L, M, N, C) of position 0 of a unit."""
    image, line, head = place
    return tl.multiple_of(image * strides[0] + line * strides[2] + head * strides[3], ALIGNMENT)


@triton.jit
def row_offsets(positions, strides, WIDTH: tl.constexpr, ALIGNMENT: tl.constexpr):
    """Return the offsets [positions, WIDTH] of the channels of a unit's positions."""
    rows = tl.multiple_of(positions.to(tl.int64) * strides[1], [ALIGNMENT])
    return rows[:, None] + tl.arange(0, WIDTH)[None, :] * strides[4]


@triton.jit
def row_mask(positions, length, CHANNELS: tl.constexpr, WIDTH: tl.constexpr):
    """Return where [positions, WIDTH] holds a channel of a position that exists."""
    return (positions < length)[:, None] & (tl.arange(0, WIDTH) < CHANNELS)[None, :]


@triton.jit
def load_rows(
    x, positions, strides, length, CHANNELS: tl.constexpr, WIDTH: tl.constexpr, ALIGNMENT: tl.constexpr
):
    """Return the channels of a unit's positions, [positions, WIDTH], zeros where there are none."""
    offsets = row_offsets(positions, strides, WIDTH, ALIGNMENT)
    return tl.load(x + offsets, mask=row_mask(positions, length, CHANNELS, WIDTH), other=0.0)


@triton.jit
def band_distances(first_query, first_key, BLOCK: tl.constexpr):
    """Return the distances p - o of the rows of a tile's band, [2 BLOCK]."""
    return first_key - first_query + tl.arange(0, 2 * BLOCK) - (BLOCK - 1)


@triton.jit
def load_band(table, distances, max_distance, CHANNELS: tl.constexpr, WIDTH: tl.constexpr):
    """Return the rows of a contiguous relative table for the distances, [distances, WIDTH]."""
    rows = tl.minimum(tl.maximum(distances, -max_distance), max_distance) + max_distance
    channels = tl.arange(0, WIDTH)
    mask = (channels < CHANNELS)[None, :] & (rows >= 0)[:, None]
    return tl.load(table + rows[:, None] * CHANNELS + channels[None, :], mask=mask, other=0.0)


@triton.jit
def load_bands(
    rel_q,
    rel_k,
    rel_v,
    first_query,
    first_key,
    max_distance,
    HEAD_DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    D: tl.constexpr,
    V: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Return the bands of the three tables, None for an absent one."""
    distances = band_distances(first_query, first_key, BLOCK)
    q_band = None
    k_band = None
    v_band = None
    if rel_q is not None:
        q_band = load_band(rel_q, distances, max_distance, HEAD_DIM, D)
    if rel_k is not None:
        k_band = load_band(rel_k, distances, max_distance, HEAD_DIM, D)
    if rel_v is not None:
        v_band = load_band(rel_v, distances, max_distance, VALUE_DIM, V)
    return q_band, k_band, v_band


@triton.jit
def flatten(x):
    """Return the elements of x in the order of its 8 x 8 patches.

    That is how the lanes of a warp hold a product: each store into shared memory is then whole rows of
    banks.
    """
    rows: tl.constexpr = x.shape[0]
    columns: tl.constexpr = x.shape[1]
    patches = tl.reshape(x, [rows // 8, 8, columns // 8, 8])
    return tl.reshape(tl.permute(patches, [0, 2, 1, 3]), [rows * columns])


@triton.jit
def patch_indices(ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the row and column of each patch and those inside of it, in four dimensions as of `flatten`."""
    patch_row = tl.arange(0, ROWS // 8)[:, None, None, None]
    row = tl.arange(0, 8)[None, :, None, None]
    patch_column = tl.arange(0, COLUMNS // 8)[None, None, :, None]
    column = tl.arange(0, 8)[None, None, None, :]
    return patch_row, row, patch_column, column


@triton.jit
def gather_patches(x, index, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return [ROWS, COLUMNS] of the elements of `flatten(x)` at the indices.

    A gather along a flat tensor goes through shared memory: one store and one load for each element. Along
    an axis of a matrix it would become a few shuffles for each.
    """
    return tl.reshape(tl.gather(flatten(x), index, 0), [ROWS, COLUMNS])


# The sums of indices below are split by hand into those of patches and those inside of one: what remains
# for each element of a thread is then one address and a constant.


@triton.jit
def pair_indices(BLOCK: tl.constexpr):
    """Return where `pairs_of_queries` and `pairs_of_keys` find the pair [o, p]."""
    patch_o, o, patch_p, p = patch_indices(BLOCK, BLOCK)
    distance = p - o + 7
    patch_distance = patch_p - patch_o + (BLOCK // 8 - 1)
    by_query = (patch_o * (BLOCK // 4) + patch_distance) * 64 + distance // 8 * 64 + o * 8 + distance % 8
    by_key = (patch_p * (BLOCK // 4) + patch_distance) * 64 + distance // 8 * 64 + p * 8 + distance % 8
    return tl.reshape(by_query, [BLOCK * BLOCK]), tl.reshape(by_key, [BLOCK * BLOCK])


@triton.jit
def pairs_of_queries(x, indices, BLOCK: tl.constexpr):
    """Return [o, p] = x[o, p - o] of x [BLOCK, 2 BLOCK], whose columns are the rows of the band."""
    return gather_patches(x, indices[0], BLOCK, BLOCK)


@triton.jit
def pairs_of_keys(x, indices, BLOCK: tl.constexpr):
    """Return [o, p] = x[p, p - o] of x [BLOCK, 2 BLOCK], whose columns are the rows of the band."""
    return gather_patches(x, indices[1], BLOCK, BLOCK)


@triton.jit
def distances_of_queries(x, BLOCK: tl.constexpr):
    """Return [o, p - o] = x[o, p] of x [BLOCK, BLOCK] with the rows of the band as columns, else zeros."""
    patch_o, o, patch_distance, distance = patch_indices(BLOCK, 2 * BLOCK)
    p = distance + o + 1
    patch_p = patch_distance + patch_o - BLOCK // 8 + p // 8
    inside = (patch_p >= 0) & (patch_p < BLOCK // 8)
    index = (patch_o * (BLOCK // 8) + patch_p) * 64 + o * 8 + p % 8
    return gather_inside(x, index, inside, BLOCK)


@triton.jit
def distances_of_keys(x, BLOCK: tl.constexpr):
    """Return [p, p - o] = x[o, p] of x [BLOCK, BLOCK] with the rows of the band as columns, else zeros."""
    patch_p, p, patch_distance, distance = patch_indices(BLOCK, 2 * BLOCK)
    o = p - distance + 7
    patch_o = patch_p - patch_distance + (BLOCK // 8 - 1) + o // 8
    inside = (patch_o >= 0) & (patch_o < BLOCK // 8)
    index = (patch_o * (BLOCK // 8) + patch_p) * 64 + o % 8 * 8 + p
    return gather_inside(x, index, inside, BLOCK)


@triton.jit
def gather_inside(x, index, inside, BLOCK: tl.constexpr):
    """Return [BLOCK, 2 BLOCK] of the elements of `flatten(x)` at the indices inside of it, else zeros."""
    index = tl.reshape(tl.where(inside, index, 0), [2 * BLOCK * BLOCK])
    inside = tl.reshape(inside, [BLOCK, 2 * BLOCK])
    return tl.where(inside, gather_patches(x, index, BLOCK, 2 * BLOCK), 0.0)


@triton.jit
def load_scales(logit_scale, head, heads):
    """Return s1, s2, s3 of a head."""
    s_qk = 1.0
    s_q = 1.0
    s_k = 1.0
    if logit_scale is not None:
        s_qk = tl.load(logit_scale + head).to(tl.float32)
        s_q = tl.load(logit_scale + heads + head).to(tl.float32)
        s_k = tl.load(logit_scale + 2 * heads + head).to(tl.float32)
    return s_qk, s_q, s_k


@triton.jit
def logits_of_tile(
    queries,
    keys,
    q_band,
    k_band,
    scales,
    valid,
    indices,
    BLOCK: tl.constexpr,
    DTYPE: tl.constexpr,
    INTERPRETED: tl.constexpr,
):
    """Return the logits [o, p] in base 2, -inf where a pair is not valid."""
    none = tl.zeros([BLOCK, BLOCK], tl.float32)
    logits = product(queries, tl.trans(keys), none, DTYPE, INTERPRETED) * scales[0]
    none = tl.zeros([BLOCK, 2 * BLOCK], tl.float32)
    if q_band is not None:
        by_distance = product(queries, tl.trans(q_band), none, DTYPE, INTERPRETED)
        logits += pairs_of_queries(by_distance, indices, BLOCK) * scales[1]
    if k_band is not None:
        by_distance = product(keys, tl.trans(k_band), none, DTYPE, INTERPRETED)
        logits += pairs_of_keys(by_distance, indices, BLOCK) * scales[2]
    return tl.where(valid, logits * LOG2_E, float("-inf"))


# exp(x) = 2^(x log2 e): the processor has the latter.
LOG2_E = tl.constexpr(1.4426950408889634)
