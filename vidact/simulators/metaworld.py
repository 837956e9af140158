"""Meta-World behind the interface of this room: reset(seed), observe, step, expert_action.

The policy's view is a 64 x 64 picture, the hand's position and the gripper's opening. The poses of
objects stay with the scripted expert and with reports.
"""

import atexit
import dataclasses
import warnings
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from vidact.simulators import gl
from vidact.simulators.tasks import IMAGE_PIXELS, WIDE, StartDistribution, find_task

gl.activate()  # before mujoco is imported

import mujoco  # noqa: E402
from gymnasium.spaces import Box  # noqa: E402
from metaworld.env_dict import ALL_V3_ENVIRONMENTS  # noqa: E402
from metaworld.policies import ENV_POLICY_MAP  # noqa: E402

# The experts ask for more than the action range; we clip what they ask for.
warnings.filterwarnings("ignore", message=r"Constant\(s\) may be too high")

ACTION_REPEAT = 4
"""Simulator steps (80 Hz) for which one action is held."""
MAX_SIMULATOR_STEPS = 500
RENDER_PIXELS = 2 * IMAGE_PIXELS
CAMERA = "corner4"
"""A closer corner2: all objects of the wide starts are in view, half as large again."""
STATE = mujoco.mjtState.mjSTATE_INTEGRATION
# Independent random streams of one seed; Meta-World's own stream places the object.
HAND_STREAM, TEXT_STREAM = 1, 2


@dataclasses.dataclass(frozen=True)
class Start:
    """Where an episode begins; for reports, never for a policy.

    Attributes:
      hand: metres, x, y, z.
      object: Meta-World's random vector: object x, y, z in metres, then the goal's where it varies.
    """

    hand: Float[np.ndarray, "3"]
    object: Float[np.ndarray, "k"]

    @property
    def vector(self) -> Float[np.ndarray, "n"]:
        """Hand and object in one vector, metres."""
        return np.concatenate([self.hand, self.object])


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """An episode put aside, so that one environment can carry many; see `MetaWorld.save`."""

    physics: Float[np.ndarray, "n"]
    body_pos: Float[np.ndarray, "bodies 3"]
    site_pos: Float[np.ndarray, "sites 3"]
    environment: dict[str, Any]
    episode: "_Episode"


@dataclasses.dataclass
class _Episode:
    start: Start
    instruction: str
    observation: Float[np.ndarray, "39"]
    succeeded: bool = False


class MetaWorld:
    """One Meta-World environment with seeded starts.

    Args:
      task: a name in `tasks.TASKS`.
      starts: where episodes begin.

    Raises:
      UserError: unknown task, or no GL library.
    """

    def __init__(self, task: str, starts: StartDistribution = WIDE):
        self.task = find_task(task)
        self.starts = starts
        # Any, for what each task adds to the base class is not in its type.
        env: Any = ALL_V3_ENVIRONMENTS[self.task.environment]()
        self._env = env
        env._set_task_called = True
        env._freeze_rand_vec = False
        env.seeded_rand_vec = True
        env._partially_observable = False
        # Made while the goal was hidden, the space would clip it to zero before the expert looks.
        del env.sawyer_observation_space
        make_expert: Any = ENV_POLICY_MAP[self.task.environment]
        self._expert = make_expert()
        self._hand_home = np.array(env.init_config["hand_init_pos"], np.float64)
        # The hand may start nearer to the robot than the stock workspace lets it go.
        env.mocap_low = np.minimum(env.mocap_low, self._hand_home - starts.hand_m)
        self._widen_object_range()
        self._home = env.model.body_pos.copy(), env.model.site_pos.copy()
        self._renderer: mujoco.Renderer | None = None
        self._episode: _Episode

    def reset(self, seed: int) -> None:
        """Starts an episode: the same seed gives bit-identical states and images."""
        env = self._env
        env.seed(seed)
        shift = np.random.default_rng([HAND_STREAM, seed]).uniform(-1, 1, 3) * self.starts.hand_m
        env.hand_init_pos = self._hand_home + shift
        # Meta-World leaves the last episode's object where the hand is about to settle.
        env.model.body_pos[:], env.model.site_pos[:] = self._home
        mujoco.mj_resetData(env.model, env.data)
        env.curr_path_length = 0
        env.reset_model()
        # Only now do pictures and observations know where the object was put.
        mujoco.mj_forward(env.model, env.data)
        env._prev_obs = env._get_curr_obs_combined_no_goal()
        phrasing = np.random.default_rng([TEXT_STREAM, seed]).integers(len(self.task.instructions))
        self._episode = _Episode(
            start=Start(env.hand_init_pos.copy(), env._last_rand_vec.copy()),
            instruction=self.task.instructions[phrasing],
            observation=env._get_obs(),
        )

    @property
    def start(self) -> Start:
        """Where this episode began; for reports only."""
        return self._episode.start

    @property
    def instruction(self) -> str:
        """What the robot is told in this episode."""
        return self._episode.instruction

    @property
    def succeeded(self) -> bool:
        """Whether the task has been solved in this episode."""
        return self._episode.succeeded

    @property
    def finished(self) -> bool:
        """Whether the task is solved or the time is up."""
        return self.succeeded or self.timed_out

    @property
    def timed_out(self) -> bool:
        """Whether the 500 simulator steps are used up."""
        return self._env.curr_path_length >= MAX_SIMULATOR_STEPS

    def state(self) -> Float[np.ndarray, "4"]:
        """Hand x, y, z in metres and the gripper's opening in [0, 1], float32."""
        return self._env._get_curr_obs_combined_no_goal()[:4].astype(np.float32)

    def image(self) -> UInt8[np.ndarray, "64 64 3"]:
        """The picture of the scene, upright and unmirrored."""
        renderer = self._renderer or self._make_renderer()
        options = mujoco.MjvOption()
        if not self.task.shows_goal:
            options.sitegroup[:] = 0
        renderer.update_scene(self._env.data, camera=CAMERA, scene_option=options)
        upright = renderer.render()[::-1, ::-1]  # the corner cameras hang upside down
        return _average_down(upright)

    def observe(self) -> tuple[UInt8[np.ndarray, "64 64 3"], Float[np.ndarray, "4"]]:
        """What a policy may see: the image and the state."""
        return self.image(), self.state()

    def step(self, action: Float[np.ndarray, "4"], repeat: int = ACTION_REPEAT) -> bool:
        """Holds an action for `repeat` simulator steps, or until the time is up.

        Args:
          action: hand velocity x, y, z and gripper effort, clipped to [-1, 1].

        Returns:
          Whether the task has been solved in this episode so far.
        """
        action = np.clip(action, -1, 1).astype(np.float32)
        for _ in range(repeat):
            if self.timed_out:
                break
            self._episode.observation, _, _, _, info = self._env.step(action)
            self._episode.succeeded |= bool(info["success"])
        return self.succeeded

    def expert_action(self) -> Float[np.ndarray, "4"]:
        """The scripted expert's action, clipped to [-1, 1], float32."""
        wish = self._expert.get_action(self._episode.observation)
        return np.clip(wish, -1, 1).astype(np.float32)

    def save(self) -> Snapshot:
        """Puts the running episode aside; `load` goes on with it bit for bit."""
        env = self._env
        physics = np.empty(mujoco.mj_stateSize(env.model, STATE))
        mujoco.mj_getState(env.model, env.data, physics, STATE)
        return Snapshot(
            physics,
            env.model.body_pos.copy(),
            env.model.site_pos.copy(),
            dict(env.__dict__),
            dataclasses.replace(self._episode),
        )

    def load(self, snapshot: Snapshot) -> None:
        """Goes on with an episode that this environment saved: call `step` next.

        What follows from the positions (pictures, observations) is right after that `step`.
        """
        env = self._env
        env.__dict__.update(snapshot.environment)
        env.model.body_pos[:], env.model.site_pos[:] = snapshot.body_pos, snapshot.site_pos
        mujoco.mj_setState(env.model, env.data, snapshot.physics, STATE)
        self._episode = dataclasses.replace(snapshot.episode)

    def close(self) -> None:
        """Frees the renderer."""
        if self._renderer is not None:
            atexit.unregister(self._renderer.close)
            self._renderer.close()
            self._renderer = None

    def _make_renderer(self) -> mujoco.Renderer:
        model = self._env.model
        # Smoothing and shadows cost ten times what the rest of the picture costs.
        model.vis.quality.offsamples = 0
        model.vis.quality.shadowsize = 1024
        renderer = mujoco.Renderer(model, RENDER_PIXELS, RENDER_PIXELS)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            renderer.scene.flags[flag] = 0
        atexit.register(renderer.close)  # left to the interpreter's end, it complains
        self._renderer = renderer
        return renderer

    def _widen_object_range(self) -> None:
        stock = self._env._random_reset_space
        low, high = stock.low.copy(), stock.high.copy()
        low[0] -= self.starts.object_x_m
        high[0] += self.starts.object_x_m
        self._env._random_reset_space = Box(low, high, dtype=np.float64)


def _average_down(image: UInt8[np.ndarray, "128 128 3"]) -> UInt8[np.ndarray, "64 64 3"]:
    """Means of 2 x 2 pixels; in integers, five times as fast as `mean`."""
    wide = image.astype(np.uint16)
    total = wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]
    return ((total + 2) >> 2).astype(np.uint8)
