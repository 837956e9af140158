"""The Meta-World tasks that vidact knows, their instructions, and where their episodes start."""

import dataclasses

from vidact.errors import UserError

DEMONSTRATION_SEED = 0
"""Demonstrations use the seeds from here upwards."""
HELD_OUT_SEED = 1_000_000
"""Evaluations use the seeds from here upwards: no demonstration ever starts from one of them."""

CONTROL_HZ = 20.0
"""Actions a second."""
IMAGE_PIXELS = 64
"""Height and width of the camera's pictures."""
ACTIONS = STATES = 4
"""Hand x, y, z and gripper."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One Meta-World task.

    Attributes:
      name: what people type, for example `drawer-open`.
      instructions: phrasings of one command; an episode's seed picks one.
      shows_goal: draw the goal marker: without it the picture does not say where to go.
    """

    name: str
    instructions: tuple[str, ...]
    shows_goal: bool = False

    @property
    def environment(self) -> str:
        """Meta-World's name of the task."""
        return f"{self.name}-v3"


@dataclasses.dataclass(frozen=True)
class StartDistribution:
    """Where the hand and the object are at the start of an episode.

    Meta-World draws the object (and the goal, where there is one) uniformly from a box and puts
    the hand at a fixed point. Here the hand moves by a uniform draw from a cube around that point,
    and the box grows along the object's x axis.

    Attributes:
      name: what people type.
      hand_m: metres that the hand moves at most, either way, along each axis.
      object_x_m: metres by which the object's x range grows at either end.
    """

    name: str
    hand_m: float
    object_x_m: float


WIDE = StartDistribution("wide", hand_m=0.1, object_x_m=0.1)
"""Hand within 0.1 m along each axis; object x from -0.2 to 0.2 m (stock: -0.1 to 0.1 m)."""
STOCK = StartDistribution("stock", hand_m=0.0, object_x_m=0.0)
"""Meta-World's own: a fixed hand."""

STARTS = {starts.name: starts for starts in (WIDE, STOCK)}

TASKS = {
    task.name: task
    for task in (
        Task(
            "drawer-open",
            (
                "open the drawer",
                "pull the drawer open",
                "slide the drawer out",
                "grab the handle and open the drawer",
                "please open the green drawer",
            ),
        ),
        Task(
            "window-open",
            (
                "open the window",
                "push the window open",
                "slide the window to the right",
                "move the window handle to open the window",
                "please slide the window open",
            ),
        ),
        Task(
            "button-press",
            (
                "press the button",
                "push the button in",
                "push the red button",
                "hit the button on the box",
                "please press the red button",
            ),
        ),
        Task(
            "push",
            (
                "push the puck to the goal",
                "slide the puck to the target",
                "move the puck along the table to the goal",
                "push the red puck onto the marker",
            ),
            shows_goal=True,
        ),
        Task(
            "pick-place",
            (
                "pick up the puck and bring it to the goal",
                "lift the puck to the target",
                "grasp the puck and place it at the goal",
                "pick the red puck and hold it at the marker",
            ),
            shows_goal=True,
        ),
        Task(
            "door-open",
            (
                "open the door",
                "pull the door open",
                "grab the handle and open the door",
                "swing the door open",
            ),
        ),
    )
}


def find_task(name: str) -> Task:
    """Looks a task up by the name that people type.

    Raises:
      UserError: there is no such task.
    """
    if name not in TASKS:
        raise UserError(f"{name}: unknown task; choose from {', '.join(TASKS)}")
    return TASKS[name]


def find_starts(name: str) -> StartDistribution:
    """Looks a start distribution up by name.

    Raises:
      UserError: there is no such distribution.
    """
    if name not in STARTS:
        raise UserError(f"{name}: unknown start distribution; choose from {', '.join(STARTS)}")
    return STARTS[name]
