"""The mesh, and the tables that say how each parameter and each activation lies on it.

Four axes. `data` repeats the parameters; over `fsdp` they are split, and gathered layer by layer;
both split the batch. `tensor` splits heads and hidden layers; `context` the places of a frame, but
frames where a frame's places attend to each other, each sample then being shared by several
devices, over which parameters are split as over `fsdp`. Slices of a pod, between which the network
is slow, are apart in `data` only.
"""

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vidact.errors import UserError
from vidact.nn import placement
from vidact.nn.placement import ROWS, ways

AXES = ("data", "fsdp", "tensor", "context")
BATCH = P(ROWS)
FSDP_MOST = 16  # of fsdp = -1: the state is small by then, and longer rings wait longer
REPLICATED_MOST = 0.02

Rules = Sequence[tuple[str, P]]
AnyMesh = Mesh | AbstractMesh

# (pattern of the parameter's path, partition of its last axes); the first match wins. Stacked
# layers have one more axis in front, which is never split. Only large matrices are worth it.
RULES: Rules = (
    # The robot's dimensions (7, say) divide by nothing, a patch's values by little: split the
    # model's side.
    (r"/((action|state)_encoder/fc1|x_embedder)/kernel$", P(None, ("fsdp", "tensor"))),
    (
        r"/(decoder/out/linear|decoder/mlp/fc2|final|final_layer/linear)/kernel$",
        P(("fsdp", "tensor"), None),
    ),
    # Into heads and hidden layers, then out of them.
    (r"/(qkv|q_linear|kv_linear|fc1|t_block|film|video_in|action_in)/kernel$", P("fsdp", "tensor")),
    (
        r"/(proj|fc2|skip|linear|lift/\d+|mlp_\d|video_out|action_out)/kernel$",
        P("tensor", "fsdp"),
    ),
    (r"/lora_a$", P("fsdp", None)),
    (r"/lora_b$", P(None, "fsdp")),
    (r"/(words|y_embedding)$|^y_embedding$", P(None, "fsdp")),
    (r"/(bias|weight|scale_shift_table|positions|freqs)$", P()),
)

# By the name that `vidact.nn.placement.place` is called with: the partition of the last axes.
ACTIVATIONS: dict[str, P] = {
    "tokens": P(ROWS, None, "context", None),  # [b, t, s, c]
    "sequences": P(ROWS, "context", None, None),  # [b, m, n, c], attention over n
    "line": P(ROWS, None, None, None),  # [b, t, 1, c]
    "heads": P("tensor", None),  # [..., h, d]
    "hidden": P("tensor"),  # [..., c], between the two layers of an MLP
}


class DoesNotDivideError(UserError):
    """The mesh does not divide the devices, the batch or a parameter; another one may."""


def sides(
    config: ml_collections.ConfigDict, devices: int, slices: int = 1
) -> tuple[int, int, int, int]:
    """How long each of `AXES` is on so many devices, see `make_mesh`.

    Raises:
      UserError: as `make_mesh`.
    """
    inner, fsdp = config.tensor * config.context, config.fsdp
    if fsdp < -1 or not fsdp:
        raise UserError(f"config.mesh.fsdp={fsdp}: must be at least 1, or -1 for what there is")
    if fsdp < 0:
        fsdp = math.gcd(max(devices // slices // inner, 1), FSDP_MOST)
    data = config.data if config.data > 0 else devices // (fsdp * inner)
    if data * fsdp * inner != devices or data % slices:
        raise DoesNotDivideError(
            f"config.mesh: data {data} x fsdp {fsdp} x tensor {config.tensor} x context "
            f"{config.context} is not {devices} devices in {slices} slices; set "
            "config.mesh.data=-1 and divisors of the number of devices of a slice"
        )
    return data, fsdp, config.tensor, config.context


def make_mesh(config: ml_collections.ConfigDict, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of `AXES` over all devices; `data = -1` takes what the other axes leave.

    Args:
      config: `config.mesh`; `fsdp = -1` takes all devices of a slice that `tensor` and `context`
        leave, but a divisor of `FSDP_MOST`.
      devices: by default this run's.

    Raises:
      DoesNotDivideError: the axes do not multiply to the number of devices, or not within a slice.
      UserError: `fsdp` is no number of devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    data, *others = sides(config, len(devices), slices)
    shape = (data // slices, *others)
    make: Callable[..., np.ndarray] = mesh_utils.create_device_mesh
    if slices > 1:
        between = (slices, *(1,) * (len(AXES) - 1))
        make = functools.partial(mesh_utils.create_hybrid_device_mesh, dcn_mesh_shape=between)
    arranged = make(shape, devices=devices, allow_split_physical_axes=True)
    return Mesh(arranged, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def one_device() -> Mesh:
    """A CPU's mesh, which splits nothing."""
    return Mesh(np.array(jax.devices("cpu")[:1]).reshape((1,) * len(AXES)), AXES)


def check_batch(batch_size: int, mesh: Mesh, microbatches: int = 1) -> None:
    """Refuses a batch that the mesh cannot divide.

    Raises:
      DoesNotDivideError: always then.
    """
    rows = ways(mesh, ROWS)
    if batch_size < 1 or batch_size % (rows * microbatches):
        times = f" x config.train.microbatches={microbatches}" if microbatches > 1 else ""
        raise DoesNotDivideError(
            f"config.train.batch_size={batch_size}: not a positive multiple of the {rows} devices "
            f"that share its rows{times}; change it"
        )
    shared = mesh.size // rows
    if jax.process_count() > 1 and jax.local_device_count() % shared:
        raise DoesNotDivideError(
            f"config.mesh: tensor x context = {shared} would share rows between hosts of "
            f"{jax.local_device_count()} devices; choose a divisor of that"
        )


def partition(path: str, shape: tuple[int, ...], mesh: AnyMesh, rules: Rules = RULES) -> P:
    """Where a parameter lies, by the first rule that its path matches.

    Raises:
      DoesNotDivideError: the first rule's partition does not divide it.
      UserError: no rule matches, or its partition has too many axes or names one twice.
    """
    spec = next((spec for pattern, spec in rules if re.search(pattern, path)), None)
    if spec is None:
        raise UserError(
            f"{path}: no rule of config.mesh.rules or vidact.training.sharding.RULES matches; add "
            "one"
        )
    named = [name for entry in spec for name in _names(entry)]
    if len(spec) > len(shape) or len(set(named)) < len(named) or not set(named) <= set(AXES):
        raise UserError(
            f"{path} {shape}: cannot be split by {spec}; name each of {', '.join(AXES)} at most "
            "once and no more axes than it has"
        )
    if mesh.shape["context"] > 1 and "context" not in named:
        spec = P(*map(_with_context, spec))
    full = P(*(None,) * (len(shape) - len(spec)), *spec)
    for size, entry in zip(shape, full, strict=True):
        if size % ways(mesh, entry):
            raise DoesNotDivideError(
                f"config.mesh.{'*'.join(_names(entry))}={ways(mesh, entry)}: does not divide the "
                f"{size} of {path} {shape}; choose a divisor or change config.model's widths"
            )
    return full


def parameter_shardings(
    parameters: Mapping[str, jax.ShapeDtypeStruct], mesh: AnyMesh, own: Sequence[Any] = ()
) -> dict[str, NamedSharding]:
    """A sharding for each parameter of a flat {path: array} dictionary.

    Args:
      parameters: by path.
      mesh: of `make_mesh`.
      own: `config.mesh.rules`, pairs of a pattern and a partition, tried before `RULES`.

    Raises:
      UserError: as `partition`; or one of `own` matches nothing, or two of them claim a parameter.
    """
    rules = (*own_rules(own, parameters), *RULES)
    return {
        path: NamedSharding(mesh, partition(path, value.shape, mesh, rules))
        for path, value in parameters.items()
    }


def own_rules(own: Sequence[Any], paths: Mapping[str, Any]) -> Rules:
    """`config.mesh.rules` as rules: each must match something that no other of them matches.

    Raises:
      UserError: names the rule.
    """
    claimed: dict[str, str] = {}
    rules = []
    for rule in own:
        try:
            pattern, spec = rule
            found = [path for path in paths if re.search(pattern, path)]
            rules.append((pattern, P(*spec)))
        except (TypeError, ValueError, re.error) as error:
            raise UserError(
                f"config.mesh.rules: {rule!r}: {error}; write ('/fc1/kernel$', ('fsdp', None))"
            ) from error
        if not found:
            raise UserError(
                f"config.mesh.rules: {pattern!r} matches no parameter; they are named like "
                f"{next(iter(paths))}"
            )
        for path in found:
            if claimed.setdefault(path, pattern) != pattern:
                raise UserError(
                    f"config.mesh.rules: {claimed[path]!r} and {pattern!r} both match {path}; make "
                    "them exclusive"
                )
    return rules


def replicated(
    parameters: Mapping[str, jax.ShapeDtypeStruct], shardings: Mapping[str, NamedSharding]
) -> float:
    """The share in [0, 1] of the parameters' bytes that every device holds whole.

    Raises:
      DoesNotDivideError: it is above `REPLICATED_MOST` on a mesh that splits parameters.
    """
    sizes = {path: value.size * value.dtype.itemsize for path, value in parameters.items()}
    whole = {path: n for path, n in sizes.items() if shardings[path].is_fully_replicated}
    share = sum(whole.values()) / max(sum(sizes.values()), 1)
    mesh = next(iter(shardings.values())).mesh
    if share > REPLICATED_MOST and mesh.size > mesh.shape["data"]:
        raise DoesNotDivideError(
            f"{max(whole, key=lambda path: whole[path])}: with others it keeps {share:.1%} of the "
            f"parameters' bytes whole on every device, above {REPLICATED_MOST:.0%}; split it by a "
            "rule of config.mesh.rules, or set config.mesh's fsdp, tensor and context to 1"
        )
    return share


def like_parameters(
    tree, shapes: Mapping[str, jax.ShapeDtypeStruct], shardings: Mapping[str, NamedSharding]
):
    """Shardings of a tree (an optimizer's state) that holds copies of the parameters.

    A leaf whose last dictionary key is a parameter's path is laid out as that parameter; one of its
    shape but for one axis (Adafactor's sums over rows and columns) as the axes that are left. Any
    other is replicated.
    """
    whole = NamedSharding(next(iter(shardings.values())).mesh, P())

    def of(path, leaf):
        names = [k.key for k in path if isinstance(k, jax.tree_util.DictKey)]
        if not names or names[-1] not in shardings:
            return whole
        shape, sharding = shapes[names[-1]].shape, shardings[names[-1]]
        if leaf.shape == shape:
            return sharding
        for axis in range(len(shape)):
            if leaf.shape == shape[:axis] + shape[axis + 1 :]:
                spec = tuple(sharding.spec)
                return NamedSharding(sharding.mesh, P(*spec[:axis], *spec[axis + 1 :]))
        return whole

    return jax.tree_util.tree_map_with_path(of, tree)


def traced_for(mesh: Mesh, function: Callable) -> Callable:
    """`function` with its activations laid out by `ACTIVATIONS`, to be jitted."""

    @functools.wraps(function)
    def wrapped(*args):
        with placement.use(placement.Placement(mesh, ACTIVATIONS)):
            return function(*args)

    return wrapped


def _with_context(entry: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
    """`context` beside `fsdp`: the devices that share a sample need no whole copies either."""
    names = _names(entry)
    return (*names, "context") if "fsdp" in names else entry


def _names(entry: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (entry,) if isinstance(entry, str) else tuple(entry or ())
