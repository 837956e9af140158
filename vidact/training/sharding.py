"""The mesh, and one ordered table that says how each parameter lies on it."""

import re
from collections.abc import Mapping

import jax
import ml_collections
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vidact.errors import UserError

AXES = ("data", "fsdp")
BATCH = P(AXES)

# (pattern of the parameter's path, partition of its last axes); the first match wins. Stacked
# layers have one more axis in front, which is never split. Only large matrices are worth it.
RULES: tuple[tuple[str, P], ...] = (
    # The robot's dimensions (7, say) divide by nothing: split the model's side of these two.
    (r"/(action|state)_encoder/fc1/kernel$", P(None, "fsdp")),
    (r"/(decoder/out/linear|decoder/mlp/fc2|final)/kernel$", P("fsdp", None)),
    (
        r"/(qkv|q_linear|kv_linear|fc1|t_block|film|x_embedder|video_in|action_in)/kernel$",
        P("fsdp", None),
    ),
    (r"/(proj|fc2|skip|linear|lift/\d+|mlp_\d|video_out|action_out)/kernel$", P(None, "fsdp")),
    (r"/lora_a$", P("fsdp", None)),
    (r"/lora_b$", P(None, "fsdp")),
    (r"/(words|y_embedding)$|^y_embedding$", P(None, "fsdp")),
    (r"/(bias|weight|scale_shift_table|positions|freqs)$", P()),
)


def make_mesh(config: ml_collections.ConfigDict) -> Mesh:
    """A (data, fsdp) mesh over all devices; `data = -1` takes what `fsdp` leaves.

    Raises:
      UserError: the axes do not multiply to the number of devices.
    """
    count = jax.device_count()
    data = config.data if config.data > 0 else count // config.fsdp
    if data * config.fsdp != count:
        raise UserError(
            f"config.mesh: data {data} x fsdp {config.fsdp} is not {count} devices; "
            "set config.mesh.data=-1 and an fsdp that divides the number of devices"
        )
    return jax.make_mesh((data, config.fsdp), AXES, axis_types=(AxisType.Auto,) * 2)


def check_batch(batch_size: int, mesh: Mesh) -> None:
    """Refuses a batch that the mesh cannot divide.

    Raises:
      UserError: always then.
    """
    if batch_size < 1 or batch_size % mesh.size:
        raise UserError(
            f"config.train.batch_size={batch_size}: not a positive multiple of the {mesh.size} "
            "devices; change it"
        )


def partition(path: str, shape: tuple[int, ...], mesh: Mesh) -> P:
    """Where a parameter lies, by the first rule of `RULES` that its path matches.

    Raises:
      UserError: a split axis does not divide.
      ValueError: no rule matches.
    """
    for pattern, spec in RULES:
        if re.search(pattern, path):
            full = P(*(None,) * (len(shape) - len(spec)), *spec)
            for size, axis in zip(shape, full, strict=True):
                if axis is not None and size % mesh.shape[axis]:
                    raise UserError(
                        f"config.mesh.fsdp={mesh.shape[axis]}: does not divide the {size} of "
                        f"{path} {shape}; choose a divisor or change config.model's widths"
                    )
            return full
    raise ValueError(f"{path}: no rule of vidact.training.sharding.RULES matches")


def parameter_shardings(
    parameters: Mapping[str, jax.ShapeDtypeStruct], mesh: Mesh
) -> dict[str, NamedSharding]:
    """A sharding for each parameter of a flat {path: array} dictionary."""
    return {
        path: NamedSharding(mesh, partition(path, value.shape, mesh))
        for path, value in parameters.items()
    }


def like_parameters(tree, parameters: Mapping[str, NamedSharding], mesh: Mesh):
    """Shardings of a tree (an optimizer's state) that holds copies of the parameters.

    A leaf whose last dictionary key is a parameter's path is laid out as that parameter, any other
    is replicated.
    """
    replicated = NamedSharding(mesh, P())

    def of(path, _):
        names = [k.key for k in path if isinstance(k, jax.tree_util.DictKey)]
        return parameters.get(names[-1], replicated) if names else replicated

    return jax.tree_util.tree_map_with_path(of, tree)
