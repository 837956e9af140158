"""Where activations lie on a mesh: layers name them, training says what the names mean."""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator, Mapping

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Shaped

from vidact.errors import UserError

ROWS = ("data", "fsdp")  # the axes of a mesh that split a batch


@dataclasses.dataclass(frozen=True)
class Placement:
    """The mesh that a function is traced for.

    Attributes:
      mesh: its devices; they need not be this machine's.
      rules: by name, the partition of an activation's last axes.
    """

    mesh: Mesh
    rules: Mapping[str, P]

    @property
    def platform(self) -> str:
        """cpu, gpu or tpu."""
        return on(self.mesh)


_CURRENT: contextvars.ContextVar[Placement | None] = contextvars.ContextVar("current", default=None)


@contextlib.contextmanager
def use(placement: Placement | None) -> Iterator[None]:
    """Traces what is inside for `placement`."""
    token = _CURRENT.set(placement)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current() -> Placement | None:
    """What is traced for; None = whatever devices JAX has, nothing split."""
    return _CURRENT.get()


def platform() -> str:
    """The platform that is traced for: cpu, gpu or tpu."""
    placement = current()
    return placement.platform if placement else jax.default_backend()


def parts(axis: str) -> int:
    """Into how many parts the mesh that is traced for splits something over one of its axes."""
    placement = current()
    return placement.mesh.shape[axis] if placement else 1


def line(x: Shaped[Array, "b t s *c"]) -> Shaped[Array, "b n *c"]:
    """All tokens in one line, frame by frame; place by place where `context` splits the places.

    What a device has must be one piece of the line: XLA has no name for anything else, and gathers
    the whole.
    """
    x = x.swapaxes(1, 2) if parts("context") > 1 else x
    return x.reshape(x.shape[0], -1, *x.shape[3:])


def grid(x: Shaped[Array, "b n *c"], frames: int) -> Shaped[Array, "b t s *c"]:
    """The inverse of `line`."""
    if parts("context") == 1:
        return x.reshape(x.shape[0], frames, -1, *x.shape[2:])
    return x.reshape(x.shape[0], -1, frames, *x.shape[2:]).swapaxes(1, 2)


def place(x: Shaped[Array, "*s"], name: str) -> Shaped[Array, "*s"]:
    """`x` laid out by the rule of `name`; axes in front of the rule's are left to XLA.

    Nothing happens outside `use` and on a mesh of one device.

    Raises:
      UserError: an axis does not divide; XLA would pad it without a word.
      KeyError: there is no such rule.
    """
    placement = current()
    if placement is None or placement.mesh.size == 1:
        return x
    rule, mesh = placement.rules[name], placement.mesh
    front = x.ndim - len(rule)
    for size, axes in zip(x.shape[front:], rule, strict=True):
        parts = ways(mesh, axes)
        if size % parts:
            raise UserError(
                f"config.mesh: {axes} of {parts} does not divide the {size} of the activation "
                f"{name} {x.shape}; choose a divisor"
            )
    return jax.lax.with_sharding_constraint(
        x, NamedSharding(mesh, P(*(P.UNCONSTRAINED,) * front, *rule))
    )


def by_rows(function: Callable, x: Shaped[Array, "b *s"]) -> Shaped[Array, "b *r"]:
    """`function(x)`, each device its own rows for itself; the rows have to be independent.

    For loops over them: XLA would gather the whole batch and let every device run all rounds.
    What is inside is traced for one device of the mesh: there is nothing left to split.
    """
    placement = current()
    if placement is None or placement.mesh.size == 1:
        return function(x)
    mesh = placement.mesh
    one = Mesh(mesh.devices.flat[:1].reshape((1,) * mesh.devices.ndim), mesh.axis_names)

    def own(x):
        with use(Placement(one, placement.rules)):
            return function(x)

    return jax.shard_map(own, mesh=mesh, in_specs=P(ROWS), out_specs=P(ROWS), check_vma=False)(x)


def on(mesh: Mesh) -> str:
    """The platform of a mesh's devices: cpu, gpu or tpu."""
    return mesh.devices.flat[0].platform


def ways(mesh: Mesh | AbstractMesh, axes: str | tuple[str, ...] | None) -> int:
    """Into how many parts a partition's entry splits an axis."""
    names = (axes,) if isinstance(axes, str) else axes or ()
    count = 1
    for name in names:
        count *= mesh.shape[name]
    return count
