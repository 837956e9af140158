"""Attention by Pallas's splash kernel, which never holds the logits: TPUs only.

The kernel wants lengths that are multiples of its blocks, and lets a query see the keys of its own
segment. Long sequences are padded; of short ones several stand side by side, a segment each. What a
mask hides is in no query's segment.
"""

import math

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import splash_attention as kernels
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int

from vidact.nn import placement
from vidact.nn.placement import ROWS

LANES = 128
PACKED = 256  # length that short sequences are packed into
BLOCK_MOST = 1024


def fits(q: Float[Array, "*b n h d"], k: Float[Array, "*b m h d"]) -> bool:
    """Whether the kernel is worth its padding: long sequences, or many short ones."""
    rows, n, m = math.prod(q.shape[:-3]), q.shape[-3], k.shape[-3]
    short = n == m < LANES and rows % _ways() == 0
    return min(n, m) >= LANES or (short and rows // _ways() * n >= LANES)


def attend(
    q: Float[Array, "*b n h d"],
    k: Float[Array, "*b m h d"],
    v: Float[Array, "*b m h d"],
    key_mask: Bool[Array, "*b m"] | None,
    scale: float,
    interpret: bool = False,
) -> Float[Array, "*b n h d"]:
    """As `vidact.nn.attention.attend`, of lengths that `fits`; split as `placement.current` has it.

    The rows of a batch are split over `data` and `fsdp`, heads over `tensor`. `context` splits the
    second axis where there are two in front of a sequence; else the queries of long sequences,
    whose keys each device then holds whole, or the rows of short ones.

    Args:
      q: queries.
      k: keys.
      v: values.
      key_mask: True where a key may be seen.
      scale: of the logits.
      interpret: run the kernel's program step by step, on any machine; for tests.
    """
    if q.ndim == 5 and q.shape[1] % placement.parts("context"):
        shape, mask = q.shape, None if key_mask is None else key_mask.reshape(-1, k.shape[2])
        q, k, v = (x.reshape(-1, *x.shape[2:]) for x in (q, k, v))
        return attend(q, k, v, mask, scale, interpret).reshape(shape)
    n = q.shape[-3]
    if key_mask is None:
        key_mask = jnp.ones(k.shape[:-2], bool)
    q = q * scale

    def local(q, k, v, key_mask):
        lead = q.shape[:-3]
        q, k, v = (x.reshape(-1, *x.shape[-3:]) for x in (q, k, v))
        seen = _local(q, k, v, key_mask.reshape(-1, key_mask.shape[-1]), interpret)
        return seen.reshape(*lead, *seen.shape[1:])

    placed = placement.current()
    if placed and placed.mesh.size > 1:
        queries, keys = _specs(q)
        if q.ndim == 4:
            q = _padded(q, 1, placement.ways(placed.mesh, queries[1]))
        local = jax.shard_map(
            local,
            mesh=placed.mesh,
            in_specs=(queries, keys, keys, P(*keys[:-2])),
            out_specs=queries,
            check_vma=False,  # the kernel does not say over what its results vary
        )
    return local(q, k, v, key_mask)[..., :n, :, :]


def _specs(q: Float[Array, "*b n h d"]) -> tuple[P, P]:
    """How queries and keys (values) lie; see `attend`."""
    if q.ndim == 5:
        return (P(ROWS, "context", None, "tensor", None),) * 2
    if q.shape[1] < LANES:
        return (P((*ROWS, "context"), None, "tensor", None),) * 2
    queries = P(ROWS, "context", "tensor", None)
    # Where it splits nothing, naming `context` spares the gradient a sum over it.
    return queries, queries if placement.parts("context") == 1 else P(ROWS, None, "tensor", None)


def _ways() -> int:
    """Among how many devices the rows of short sequences are split."""
    placed = placement.current()
    return placement.ways(placed.mesh, (*ROWS, "context")) if placed else 1


def _local(q, k, v, key_mask, interpret: bool) -> Float[Array, "b n h d"]:
    """What one device does of [b, n, h, d]: packs or pads, and runs the kernel."""
    b, n, heads, _ = q.shape
    rows = PACKED // n if n < LANES else 1
    own = _segments(n, rows)
    # All queries of a long sequence are one segment: those in its padding are cut off again.
    queries = jnp.broadcast_to(own if rows > 1 else own * 0, (-(-b // rows), own.size))
    keys = jnp.where(_packed(key_mask, rows, fill=True), _segments(k.shape[1], rows), -1)
    q, k, v = (_packed(x, rows).transpose(0, 2, 1, 3) for x in (q, k, v))
    kernel = _kernel(heads, q.shape[2], k.shape[2], interpret)
    seen = jax.vmap(kernel)(q, k, v, kernels.SegmentIds(queries, keys)).transpose(0, 2, 1, 3)
    return seen[:, : rows * n].reshape(-1, n, *seen.shape[2:])[:b]


def _packed(x: jax.Array, rows: int, fill: bool = False) -> jax.Array:
    """[b, n, ...] as [b / rows, rows * n, ...], both padded where they have to be."""
    x = _padded(x, 0, rows, fill)
    return _padded(x.reshape(-1, rows * x.shape[1], *x.shape[2:]), 1, LANES, fill)


def _segments(length: int, rows: int) -> Int[Array, " n"]:
    """The number of its sequence for each place of a pack; padding counts as one more."""
    return jnp.arange(-(-rows * length // LANES) * LANES, dtype=jnp.int32) // length


def _padded(x: jax.Array, axis: int, factor: int, fill: bool = False) -> jax.Array:
    """`fill` behind an axis, up to a multiple of `factor`."""
    widths = [(0, -size % factor if i == axis else 0) for i, size in enumerate(x.shape)]
    return jnp.pad(x, widths, constant_values=fill)


def _kernel(heads: int, n: int, m: int, interpret: bool):
    """The kernel for padded lengths; its blocks divide them."""
    bq, bk = _block(n), _block(m)
    sizes = kernels.BlockSizes(
        block_q=bq,
        block_kv=bk,
        block_kv_compute=bk,
        block_q_dkv=bq,
        block_kv_dkv=bk,
        block_kv_dkv_compute=bk,
        use_fused_bwd_kernel=True,
    )
    mask = kernels.MultiHeadMask([kernels.FullMask((n, m))] * heads)
    return kernels.make_splash_mha(
        mask, block_sizes=sizes, head_shards=1, q_seq_shards=1, interpret=interpret
    )


def _block(length: int) -> int:
    """The largest multiple of the lanes that divides a length, within `BLOCK_MOST`."""
    return max(b for b in range(LANES, BLOCK_MOST + 1, LANES) if length % b == 0)
