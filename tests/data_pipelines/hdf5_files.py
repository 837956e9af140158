"""Small HDF5 files in the forms of LIBERO and robomimic, for tests.

LIBERO: scripts/create_dataset.py at 1952000. robomimic: "Dataset Structure" of its documentation,
v0.2 with next_obs and masks, v0.3 with action_dict, actions_abs and compressed observations.
"""

import json
import pathlib
from collections.abc import Sequence

import h5py
import numpy as np

AGENT, WRIST = "obs/agentview_rgb", "obs/eye_in_hand_rgb"
SIZE = 12


def libero(
    path: pathlib.Path,
    lengths: Sequence[int] = (5, 7, 4),
    instruction: object = "open the top drawer of the cabinet",
    seed: int = 0,
) -> pathlib.Path:
    """A file with demonstrations of these lengths."""
    random = np.random.default_rng(seed)
    settings = {"robots": ["Panda"], "control_freq": 20, "camera_heights": SIZE}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_name"] = "Libero_Tabletop_Manipulation"
        data.attrs["problem_info"] = json.dumps(
            {
                "problem_name": "libero_tabletop_manipulation",
                "domain_name": "robosuite",
                "language_instruction": instruction,
            }
        )
        data.attrs["macros_image_convention"] = "opengl"
        data.attrs["bddl_file_name"] = "bddl_files/libero_goal/open_the_top_drawer.bddl"
        data.attrs["bddl_file_content"] = "(define (problem LIBERO_Tabletop_Manipulation))"
        data.attrs["env_args"] = json.dumps({"type": 1, "env_kwargs": settings})
        data.attrs["tag"] = "libero-v1"
        data.attrs["num_demos"] = len(lengths)
        data.attrs["total"] = sum(lengths)
        for number, steps in enumerate(lengths):
            _libero_demo(data.create_group(f"demo_{number}"), steps, random)
    return path


def _libero_demo(demo: h5py.Group, steps: int, random: np.random.Generator) -> None:
    obs = demo.create_group("obs")
    poses = random.normal(size=(steps, 6))
    obs.create_dataset("gripper_states", data=random.normal(size=(steps, 2)))
    obs.create_dataset("joint_states", data=random.normal(size=(steps, 7)))
    obs.create_dataset("ee_states", data=poses)
    obs.create_dataset("ee_pos", data=poses[:, :3])
    obs.create_dataset("ee_ori", data=poses[:, 3:])
    for name in ("agentview_rgb", "eye_in_hand_rgb"):
        obs.create_dataset(name, data=pixels(steps, random))
    demo.create_dataset("actions", data=random.uniform(-1, 1, (steps, 7)))
    demo.create_dataset("states", data=random.normal(size=(steps, 79)))
    demo.create_dataset("robot_states", data=random.normal(size=(steps, 9)))
    last = np.arange(steps) == steps - 1
    demo.create_dataset("rewards", data=last.astype(np.uint8))
    demo.create_dataset("dones", data=last.astype(np.uint8))
    demo.attrs["num_samples"] = steps
    demo.attrs["model_file"] = "<mujoco/>"
    demo.attrs["init_state"] = np.zeros(79)


def robomimic(
    path: pathlib.Path,
    lengths: Sequence[int] = (6, 3, 8),
    masks: dict[str, list[str]] | None = None,
    version: str = "v0.2",
    objects: int = 10,
) -> pathlib.Path:
    """A file with demonstrations of these lengths and a split a mask."""
    random = np.random.default_rng(1)
    settings = {"has_renderer": False, "control_freq": 20, "camera_names": ["agentview"]}
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        told = {"env_name": "Lift", "type": 1, "env_kwargs": settings}
        if version == "v0.3":
            told["env_version"] = "1.4.1"
        data.attrs["env_args"] = json.dumps(told, indent=4)
        data.attrs["total"] = sum(lengths)
        for number, steps in enumerate(lengths):
            demo = data.create_group(f"demo_{number}")
            demo.create_dataset("actions", data=random.uniform(-1, 1, (steps, 7)))
            demo.create_dataset("states", data=random.normal(size=(steps, 32)))
            demo.create_dataset("rewards", data=np.zeros(steps))
            demo.create_dataset("dones", data=np.zeros(steps, np.int64))
            for group in ("obs", "next_obs")[: 1 if version == "v0.3" else 2]:
                _robomimic_obs(demo.create_group(group), steps, version, objects, random)
            if version == "v0.3":
                demo.create_dataset("actions_abs", data=random.normal(size=(steps, 7)))
                for key, width in (("abs_pos", 3), ("abs_rot_6d", 6), ("gripper", 1)):
                    values = random.normal(size=(steps, width))
                    demo.create_dataset(f"action_dict/{key}", data=values)
            demo.attrs["num_samples"] = steps
            demo.attrs["model_file"] = "<mujoco/>"
        for name, demos in (masks or {}).items():
            file.create_dataset(f"mask/{name}", data=np.array(demos, dtype="S"))
    return path


def _robomimic_obs(
    obs: h5py.Group, steps: int, version: str, objects: int, random: np.random.Generator
) -> None:
    packed = {"compression": "gzip"} if version == "v0.3" else {}
    for name in ("agentview_image", "robot0_eye_in_hand_image"):
        obs.create_dataset(name, data=pixels(steps, random), **packed)
    widths = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}
    for name, width in (widths | {"object": objects}).items():
        obs.create_dataset(name, data=random.normal(size=(steps, width)), **packed)


def pixels(steps: int, random: np.random.Generator) -> np.ndarray:
    """Noise, uint8 [steps, SIZE, SIZE, 3]."""
    return random.integers(0, 256, (steps, SIZE, SIZE, 3), dtype=np.uint8)


def stored(path: pathlib.Path, name: str) -> np.ndarray:
    with h5py.File(path) as file:
        return file[name][()]


def edit(path: pathlib.Path, *removed: str, **datasets: object) -> None:
    """Takes out datasets and writes others, `demo_0__obs__x` standing for data/demo_0/obs/x."""
    with h5py.File(path, "a") as file:
        for name in removed:
            del file[name]
        for name, values in datasets.items():
            file[f"data/{name.replace('__', '/')}"] = values
