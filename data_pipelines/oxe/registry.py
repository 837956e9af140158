"""The data sets of Open X-Embodiment, one row each, and how to find one.

A row does what octo (octo/data/oxe/ at 241fb35) and OpenVLA (prismatic/vla/datasets/rlds/oxe/ at
c8f03f4) do, because the field's statistics and checkpoints rest on that. Its note says where these
two differ, where the descriptions in TensorFlow Datasets' catalogue ("TFDS") or the scripts of
RDT-1B (thu-ml/RoboticsDiffusionTransformer, "RDT") contradict them, and what is a guess of ours.
Two rows leave them: cmu_play_fusion, whose angles they mistake, and aloha_mobile_dataset, whose
base goes. Frequencies are RDT's, or any4lerobot's where RDT has none. "Published ranges" are the
1 % and 99 % quantiles of standard actions that checkpoints of OpenVLA's kind come with.

Columns are read as in data_pipelines/oxe/columns.py: "action[0:3] 0 action[6]" is three columns, a
zero and one column.

The file is long because the table is: in parts, a row would have to be searched in each. What is
done to rows lies elsewhere (row.py, standard.py, view.py, oddities.py).
"""

import difflib
import functools

from data_pipelines.oxe.oddities import (
    binarised,
    clipped,
    decode_characters,
    from_255,
    inverted,
    quaternion_to_rpy,
    reached_deltas,
    relative_to_absolute,
    waypoints,
)
from data_pipelines.oxe.row import Cameras, Gripper, Motion, Row, State
from vidact.errors import UserError

SUFFIX = "_converted_externally_to_rlds"
OPEN = "1 open, 0 closed"
CLOSED = "1 closed, 0 open"
SIGNED_CLOSED = "1 closed, -1 open"
RELATIVE = "1 closes, -1 opens, 0 stays"
AS_OPEN = "taken for 1 open"
NO_GRIPPER = Gripper("0", "there is none")
NO_STATE = State("none", "0 0 0 0 0 0 0 0")
NATURAL = "observation/natural_language_instruction"
BRIDGE_MOTION = Motion("eef_delta", "observation/state[0:6]", reached_deltas)
BRIDGE_STATE = State("euler", "observation/state[0:6] 0 observation/state[6]")
RTX_MOTION = Motion("eef_delta", "action/world_vector[0:3] action/rotation_delta[0:3]")
RDT_INVERTS = "octo and OpenVLA keep the gripper as stored, RDT inverts it"

# A row is read in one glance; the formatter would give each argument a line of its own.
# fmt: off
TABLE = (
    Row(name="fractal20220817_data", robot="Google Robot", hz=3,
        cameras=Cameras("observation/image"), motion=RTX_MOTION, text=NATURAL,
        gripper=Gripper("action/gripper_closedness_action[0]", RELATIVE, (relative_to_absolute,)),
        state=State("quaternion",
                    "observation/base_pose_tool_reached[0:7] observation/gripper_closed[0]"),
        note="RDT reads the gripper as absolute; the base's displacement is left out"),
    Row(name="kuka", robot="Kuka iiwa", hz=10,
        cameras=Cameras("observation/image"), motion=RTX_MOTION, text=NATURAL, uninformative=True,
        gripper=Gripper("action/gripper_closedness_action[0]", RELATIVE, (relative_to_absolute,)),
        state=State("quaternion", "observation/clip_function_input/base_pose_tool_reached[0:7] "
                    "observation/gripper_closed[0]"),
        compressed=("observation/clip_function_input/base_pose_tool_reached",
                    "observation/gripper_closed"),
        note="RDT reads the gripper as absolute; TFDS names no compression, octo undoes it; turns "
        "about z alone; the base's displacement is left out; OpenVLA keeps the text"),
    Row(name="bridge_dataset", robot="WidowX", hz=5,
        cameras=Cameras("observation/image_0", "observation/image_1"), motion=BRIDGE_MOTION,
        gripper=Gripper("action[6]", OPEN, (binarised,)), state=BRIDGE_STATE,
        drop_first=1, drop_last=1,
        note="BridgeData V2 from the project's own site, as bridge_orig; octo keeps the first "
        "step, of no action, which OpenVLA drops"),
    Row(name="bridge_orig", robot="WidowX", hz=5,
        cameras=Cameras("observation/image_0", "observation/image_1"), motion=BRIDGE_MOTION,
        gripper=Gripper("action[6]", OPEN, (binarised,)), state=BRIDGE_STATE,
        drop_first=1, drop_last=1,
        note="OpenVLA's name for bridge_dataset, BridgeData V2 from the project's own site"),
    Row(name="bridge_oxe", robot="WidowX", hz=5,
        cameras=Cameras("observation/image", "observation/image_1"), motion=BRIDGE_MOTION,
        gripper=Gripper("action/open_gripper[0]", OPEN), state=BRIDGE_STATE, text=NATURAL,
        drop_first=1, drop_last=1,
        note="OpenVLA's name for OXE's `bridge`, an older copy; TFDS lists no image_1 in it"),
    Row(name="taco_play", robot="Franka", hz=15,
        cameras=Cameras("observation/rgb_static", wrist="observation/rgb_gripper"),
        motion=Motion("eef_delta", "action/rel_actions_world[0:6]"), text=NATURAL,
        gripper=Gripper("action/rel_actions_world[6]", "taken for 1 open, -1 closed", (clipped,)),
        state=State("euler", "observation/robot_obs[0:6] 0 observation/robot_obs[7]"),
        note="TFDS says -1 open and 1 closed, so 1 may mean closed; its angles are yaw, pitch, "
        "roll; its robot_obs has the gripper at 6 and the first joint at 7"),
    Row(name="jaco_play", robot="Jaco 2", hz=10,
        cameras=Cameras("observation/image", wrist="observation/image_wrist"),
        motion=Motion("eef_delta", "action/world_vector[0:3] 0 0 0"), text=NATURAL,
        gripper=Gripper("action/gripper_closedness_action[0]", RELATIVE, (relative_to_absolute,)),
        state=State("euler", "observation/end_effector_cartesian_pos[0:6] 0 "
                    "observation/end_effector_cartesian_pos[6]"),
        note="no rotation; RDT reads the state as position and quaternion without a gripper"),
    Row(name="berkeley_cable_routing", robot="Franka", hz=10,
        cameras=Cameras("observation/image", "observation/top_image", "observation/wrist45_image"),
        motion=RTX_MOTION, gripper=NO_GRIPPER, text=NATURAL, uninformative=True,
        state=State("joints", "observation/robot_state[0:7] 0"),
        note="TFDS calls the actions velocities; RDT reads the state as position and quaternion; "
        "OpenVLA keeps the text"),
    Row(name="roboturk", robot="Sawyer", hz=10,
        cameras=Cameras("observation/front_rgb"), motion=RTX_MOTION,
        gripper=Gripper("action/gripper_closedness_action[0]", SIGNED_CLOSED, (clipped, inverted)),
        state=NO_STATE, text=NATURAL, uninformative=True, note="OpenVLA keeps the text"),
    Row(name="nyu_door_opening_surprising_effectiveness", robot="Hello Stretch", hz=3,
        cameras=Cameras(wrist="observation/image"), motion=RTX_MOTION,
        gripper=Gripper("action/gripper_closedness_action[0]", RELATIVE, (relative_to_absolute,)),
        state=NO_STATE, text=NATURAL, uninformative=True,
        note="wrist camera alone, for which OpenVLA's mixtures leave it out; RDT reads the gripper "
        "as absolute, 0.96 closed to -0.28 open; OpenVLA keeps the text"),
    Row(name="viola", robot="Franka", hz=20,
        cameras=Cameras("observation/agentview_rgb", wrist="observation/eye_in_hand_rgb"),
        motion=RTX_MOTION, text=NATURAL, uninformative=True,
        gripper=Gripper("action/gripper_closedness_action[0]", SIGNED_CLOSED, (clipped, inverted)),
        state=State("joints", "observation/joint_states[0:7] observation/gripper_states[0]"),
        note="published ranges reach 1: the controller's unit, no metres; OpenVLA keeps the text"),
    Row(name="berkeley_autolab_ur5", robot="UR5", hz=5,
        cameras=Cameras("observation/image", wrist="observation/hand_image"), motion=RTX_MOTION,
        gripper=Gripper("action/gripper_closedness_action[0]", RELATIVE, (relative_to_absolute,)),
        state=State("quaternion", "observation/robot_state[6:14]"), text=NATURAL),
    Row(name="toto", robot="Franka", hz=30,
        cameras=Cameras("observation/image"), text=NATURAL, uninformative=True,
        motion=Motion("eef_absolute", "action/world_vector[0:3] action/rotation_delta[0:3]"),
        gripper=Gripper("action/open_gripper[0]", OPEN),
        state=State("joints", "observation/state[0:7] 0"),
        note="octo and OpenVLA call the actions deltas; their published ranges (x 0.18 to 0.61) "
        "are those of poses; the gripper is 0 throughout; OpenVLA keeps the text"),
    Row(name="language_table", robot="xArm", hz=10,
        cameras=Cameras("observation/rgb"), motion=Motion("eef_delta", "action[0:2] 0 0 0 0"),
        gripper=Gripper("1", "there is none; octo and OpenVLA take it for open"),
        state=State("euler", "observation/effector_translation[0:2] 0 0 0 0 0 0"),
        text="observation/instruction", decode=decode_characters,
        note="moves in the plane; octo reads the instruction's integers as code points, the data "
        "set calls them bytes of UTF-8"),
    Row(name="columbia_cairlab_pusht_real", robot="UR5", hz=10,
        cameras=Cameras("observation/image", wrist="observation/wrist_image"), motion=RTX_MOTION,
        gripper=Gripper("action/gripper_closedness_action[0]", RELATIVE), text=NATURAL,
        state=State("euler", "observation/robot_state[0:2] 0 0 0 0 0 0"),
        note="octo and OpenVLA keep the gripper as stored although 1 closes; RDT leaves it out: "
        "the robot pushes"),
    Row(name="stanford_kuka_multimodal_dataset_converted_externally_to_rlds", robot="Kuka iiwa",
        hz=20, cameras=Cameras("observation/image"),
        motion=Motion("eef_delta", "action[0:3] 0 0 0"), gripper=Gripper("action[3]", AS_OPEN),
        state=State("quaternion",
                    "observation/ee_position[0:3] observation/ee_orientation[0:4] 0"),
        note="RDT leaves the gripper out: it stays within 0.15 of 0"),
    Row(name="nyu_rot_dataset_converted_externally_to_rlds", robot="xArm", hz=3,
        cameras=Cameras("observation/image"), motion=Motion("eef_delta", "action[0:6]"),
        gripper=Gripper("action[6]", AS_OPEN), state=BRIDGE_STATE,
        note="TFDS and RDT say 1 is closed; octo and OpenVLA keep the gripper as stored"),
    Row(name="stanford_hydra_dataset_converted_externally_to_rlds", robot="Franka", hz=10,
        cameras=Cameras("observation/image", wrist="observation/wrist_image"),
        motion=Motion("eef_delta", "action[0:6]"), uninformative=True,
        gripper=Gripper("action[6]", CLOSED, (inverted,)),
        state=State("euler",
                    "observation/state[0:3] observation/state[7:10] 0 observation/state[24]"),
        note="OpenVLA keeps the text"),
    Row(name="austin_buds_dataset_converted_externally_to_rlds", robot="Franka", hz=20,
        cameras=Cameras("observation/image", wrist="observation/wrist_image"),
        motion=Motion("eef_delta", "action[0:6]"), uninformative=True,
        gripper=Gripper("action[6]", SIGNED_CLOSED, (clipped, inverted)),
        state=State("joints", "observation/state[0:8]"),
        note="no rotation; the controller's unit, no metres; OpenVLA keeps the text"),
    Row(name="nyu_franka_play_dataset_converted_externally_to_rlds", robot="Franka", hz=3,
        cameras=Cameras("observation/image", "observation/image_additional_view"),
        motion=Motion("eef_delta", "action[7:13]"), uninformative=True,
        gripper=Gripper("action[13]", "1 open, -1 closed", (clipped,)),
        state=State("euler", "observation/state[7:13] 0 0"),
        note="joint velocities and the end of the episode are left out; OpenVLA keeps the text"),
    Row(name="maniskill_dataset_converted_externally_to_rlds", robot="Franka", hz=20,
        cameras=Cameras("observation/image", wrist="observation/wrist_image"),
        motion=Motion("eef_delta", "action[0:6]"),
        gripper=Gripper("action[6]", "1 open, -1 closed"),
        state=State("quaternion", "observation/tcp_pose[0:7] observation/state[7]"),
        note="TFDS: a motion of 1 is 0.1 m or 0.1 rad about an axis, quaternions start with w; "
        "octo and OpenVLA keep all as stored, so that the gripper is -1 to 1; simulated"),
    Row(name="furniture_bench_dataset_converted_externally_to_rlds", robot="Franka", hz=10,
        cameras=Cameras("observation/image", wrist="observation/wrist_image"),
        motion=Motion("eef_delta", "action[0:7]", quaternion_to_rpy),
        gripper=Gripper("action[7]", SIGNED_CLOSED, (clipped, inverted)),
        state=State("quaternion", "observation/state[0:7] observation/state[34]")),
    Row(name="cmu_franka_exploration_dataset_converted_externally_to_rlds", robot="Franka", hz=10,
        cameras=Cameras("observation/highres_image"), motion=Motion("eef_delta", "action[0:6]"),
        gripper=Gripper("action[6]", OPEN), state=NO_STATE,
        note="TFDS describes a position and an orientation, octo, OpenVLA and RDT take deltas"),
    Row(name="ucsd_kitchen_dataset_converted_externally_to_rlds", robot="xArm", hz=2,
        cameras=Cameras("observation/image"), motion=Motion("eef_absolute", "action[0:6]"),
        gripper=Gripper("action[6]", AS_OPEN), state=State("joints", "observation/state[0:7] 0"),
        note="octo and OpenVLA call the actions deltas; their published ranges (x 200 to 637, "
        f"angles to 180) are those of poses in mm and degrees; {RDT_INVERTS}"),
    Row(name="ucsd_pick_and_place_dataset_converted_externally_to_rlds", robot="xArm", hz=3,
        cameras=Cameras("observation/image"), motion=Motion("eef_delta", "action[0:3] 0 0 0"),
        gripper=Gripper("action[3]", AS_OPEN), state=BRIDGE_STATE,
        note=f"TFDS: velocities and a torque of the gripper, states in dm; {RDT_INVERTS}"),
    Row(name="austin_sailor_dataset_converted_externally_to_rlds", robot="Franka", hz=20,
        cameras=Cameras("observation/image", wrist="observation/wrist_image"),
        motion=Motion("eef_delta", "action[0:6]"), uninformative=True,
        gripper=Gripper("action[6]", SIGNED_CLOSED, (clipped, inverted)),
        state=State("quaternion", "observation/state[0:8]"),
        note="the controller's unit, no metres; OpenVLA keeps the text"),
    Row(name="austin_sirius_dataset_converted_externally_to_rlds", robot="Franka", hz=20,
        cameras=Cameras("observation/image", wrist="observation/wrist_image"),
        motion=Motion("eef_delta", "action[0:6]"), uninformative=True,
        gripper=Gripper("action[6]", SIGNED_CLOSED, (clipped, inverted)),
        state=State("joints", "observation/state[0:8]"),
        note="octo and OpenVLA call the state position and quaternion, TFDS 7 joints and gripper; "
        "the controller's unit, no metres; OpenVLA keeps the text"),
    Row(name="bc_z", robot="Google Robot", hz=10,
        cameras=Cameras("observation/image"), text=NATURAL,
        motion=Motion("eef_delta",
                      "action/future/xyz_residual[0:3] action/future/axis_angle_residual[0:3]"),
        gripper=Gripper("action/future/target_close[0]", CLOSED, (inverted,)),
        state=State("euler", "observation/present/xyz[0:3] observation/present/axis_angle[0:3] 0 "
                    "observation/present/sensed_close[0]"),
        note="the first of ten future actions; axis-angle stands for roll, pitch, yaw; OpenVLA: "
        "use version 0.1.0, later ones are broken"),
    *(Row(name=f"utokyo_pr2_{task}_converted_externally_to_rlds", robot="PR2", hz=10,
          cameras=Cameras("observation/image"), motion=Motion("eef_delta", "action[0:6]"),
          gripper=Gripper("action[6]", AS_OPEN), state=BRIDGE_STATE,
          note=f"positions in mm by RDT; {RDT_INVERTS}")
      for task in ("opening_fridge", "tabletop_manipulation")),
    Row(name="utokyo_xarm_pick_and_place_converted_externally_to_rlds", robot="xArm", hz=10,
        cameras=Cameras("observation/image", "observation/image2", "observation/hand_image"),
        motion=Motion("eef_delta", "action[0:6]"), gripper=Gripper("action[6]", AS_OPEN),
        state=State("euler", "observation/end_effector_pose[0:6] 0 0"),
        note=f"TFDS: a position, then yaw, pitch, roll; octo, OpenVLA and RDT take deltas; "
        f"{RDT_INVERTS}"),
    Row(name="utokyo_xarm_bimanual_converted_externally_to_rlds", robot="xArm Bimanual", hz=10,
        cameras=Cameras("observation/image"), motion=Motion("eef_delta", "action[7:13]"),
        gripper=Gripper("action[13]", AS_OPEN),
        state=State("euler", "observation/pose_r[0:6] 0 0"),
        note="the right arm alone; TFDS: a position, then yaw, pitch, roll, and RDT takes poses, "
        "octo and OpenVLA deltas; octo's state key end_effector_pose is not in TFDS; "
        f"{RDT_INVERTS}"),
    Row(name="robo_net", robot="Multi-Robot", hz=1,
        cameras=Cameras("observation/image", "observation/image1"),
        motion=Motion("eef_delta", "action[0:4] 0 0"), gripper=Gripper("action[4]", AS_OPEN),
        state=State("euler", "observation/state[0:4] 0 0 0 observation/state[4]"),
        note="the angle is yaw by RDT, octo and OpenVLA put it where roll is; RDT takes a gripper "
        "of -1 for open and 1 for closed, octo and OpenVLA keep it as stored"),
    Row(name="berkeley_mvp_converted_externally_to_rlds", robot="xArm", hz=5,
        cameras=Cameras(wrist="observation/hand_image"),
        motion=Motion("joint_delta", "action[0:7]"),
        gripper=Gripper("action[7]", CLOSED, (inverted,)),
        state=State("quaternion", "observation/pose[0:7] observation/gripper[0]"),
        note="octo inverts the gripper, as RDT; OpenVLA keeps it as stored and loads no joints"),
    Row(name="berkeley_rpt_converted_externally_to_rlds", robot="Franka", hz=30,
        cameras=Cameras(wrist="observation/hand_image"),
        motion=Motion("joint_delta", "observation/joint_pos[0:7]",
                      functools.partial(reached_deltas, every=3)),
        gripper=Gripper("action[7]", CLOSED, (inverted,)),
        state=State("joints", "observation/joint_pos[0:7] observation/gripper[0]"),
        every=3, drop_last=1,
        note="octo keeps 10 Hz of 30, relabels and inverts the gripper; OpenVLA keeps all as "
        "stored and loads no joints"),
    Row(name="kaist_nonprehensile_converted_externally_to_rlds", robot="Franka", hz=10,
        cameras=Cameras("observation/image"), motion=Motion("eef_delta", "action[0:6]"),
        gripper=NO_GRIPPER, state=State("quaternion", "observation/state[14:21] 0"),
        note="axis-angle stands for roll, pitch, yaw; gains and damping are left out"),
    Row(name="stanford_mask_vit_converted_externally_to_rlds", robot="Sawyer", hz=None,
        cameras=Cameras("observation/image"), motion=Motion("eef_delta", "action[0:4] 0 0"),
        gripper=Gripper("action[4]", AS_OPEN),
        state=State("euler", "observation/end_effector_pose[0:4] 0 0 0 "
                    "observation/end_effector_pose[4]"),
        note="the angle is yaw by RDT, octo and OpenVLA put it where roll is; RDT: -1 opens and 1 "
        "closes the gripper, octo and OpenVLA keep it as stored"),
    Row(name="tokyo_u_lsmo_converted_externally_to_rlds", robot="Cobotta", hz=10,
        cameras=Cameras("observation/image"), motion=Motion("eef_delta", "action[0:6]"),
        gripper=Gripper("action[6]", AS_OPEN),
        state=State("euler", "observation/state[0:6] 0 observation/state[12]"),
        note=f"TFDS describes a position, octo, OpenVLA and RDT take deltas; {RDT_INVERTS}"),
    *(Row(name=f"dlr_sara_{task}_converted_externally_to_rlds", robot="DLR SARA", hz=10,
          cameras=Cameras("observation/image"), motion=Motion("eef_delta", "action[0:6]"),
          gripper=Gripper("action[6]", AS_OPEN),
          state=State("euler", "observation/state[0:6] 0 0"),
          note=f"angles are z, x, y by RDT; {RDT_INVERTS}")
      for task in ("pour", "grid_clamp")),
    Row(name="dlr_edan_shared_control_converted_externally_to_rlds", robot="DLR EDAN", hz=5,
        cameras=Cameras("observation/image"), motion=Motion("eef_delta", "action[0:6]"),
        gripper=Gripper("action[6]", CLOSED, (inverted,)),
        state=State("euler", "observation/state[0:7] 0"),
        note="angles are z, x, y by RDT; the state's gripper is column 6"),
    Row(name="asu_table_top_converted_externally_to_rlds", robot="UR5", hz=12.5,
        cameras=Cameras("observation/image"), motion=Motion("eef_delta", "action[0:6]"),
        gripper=Gripper("action[6]", AS_OPEN),
        state=State("euler", "ground_truth_states/EE[0:6] 0 observation/state[6]"),
        note="TFDS calls the action velocities of joints; octo and OpenVLA take it for deltas of "
        "the end effector"),
    Row(name="stanford_robocook_converted_externally_to_rlds", robot="Franka", hz=5,
        cameras=Cameras("observation/image_1", "observation/image_2"),
        motion=Motion("eef_delta", "action[0:6]"), gripper=Gripper("action[6]", AS_OPEN),
        state=BRIDGE_STATE, note="velocities, the gripper's too, by RDT"),
    Row(name="imperialcollege_sawyer_wrist_cam", robot="Sawyer", hz=10,
        cameras=Cameras("observation/image", wrist="observation/wrist_image"),
        motion=Motion("eef_delta", "action[0:6]"), gripper=Gripper("action[6]", AS_OPEN),
        state=State("none", "0 0 0 0 0 0 0 observation/state[0]"),
        note="TFDS: both cameras are the wrist's, deltas are in the hand's frame and angles z, y, "
        f"x; {RDT_INVERTS}"),
    Row(name="iamlab_cmu_pickup_insert_converted_externally_to_rlds", robot="Franka", hz=20,
        cameras=Cameras("observation/image", wrist="observation/wrist_image"),
        motion=Motion("eef_absolute", "action[0:7]", quaternion_to_rpy),
        gripper=Gripper("action[7]", OPEN), state=State("joints", "observation/state[0:8]"),
        note="octo and OpenVLA call the actions deltas; TFDS and their published ranges (x 0.31 to "
        "0.65) say poses; roll and yaw at +-pi together hint at a quaternion that starts with w"),
    Row(name="uiuc_d3field", robot="Kinova Gen3", hz=1,
        cameras=Cameras("observation/image_1", "observation/image_2"),
        motion=Motion("eef_delta", "action[0:3] 0 0 0"), gripper=NO_GRIPPER, state=NO_STATE,
        note="octo and OpenVLA leave it out of mixtures: raw data broken"),
    Row(name="utaustin_mutex", robot="Franka", hz=20,
        cameras=Cameras("observation/image", wrist="observation/wrist_image"),
        motion=Motion("eef_delta", "action[0:6]"), uninformative=True,
        gripper=Gripper("action[6]", SIGNED_CLOSED, (clipped, inverted)),
        state=State("joints", "observation/state[0:8]"),
        note="RDT keeps the gripper as stored; the controller's unit, no metres; OpenVLA keeps the "
        "text"),
    Row(name="berkeley_fanuc_manipulation", robot="Fanuc Mate", hz=10,
        cameras=Cameras("observation/image", wrist="observation/wrist_image"),
        motion=Motion("eef_delta", "action[0:6]"),
        gripper=Gripper("observation/state[6]", CLOSED, (inverted,)),
        state=State("joints", "observation/state[0:6] 0 observation/state[6]"),
        note="no gripper action is stored: the gripper's state stands for it"),
    Row(name="cmu_playing_with_food", robot="Franka", hz=10,
        cameras=Cameras("observation/image", wrist="observation/finger_vision_1"),
        motion=Motion("eef_delta", "action[0:7]", quaternion_to_rpy),
        gripper=Gripper("action[7]", AS_OPEN), state=State("euler", "observation/state[0:6] 0 0"),
        note="six state columns are a reading of OpenVLA's padding"),
    Row(name="cmu_play_fusion", robot="Franka", hz=5,
        cameras=Cameras("observation/image"),
        motion=Motion("eef_delta", "action[0:7]", quaternion_to_rpy),
        gripper=Gripper("action[7]", AS_OPEN), state=State("joints", "observation/state[0:8]"),
        note="TFDS: position, quaternion, gripper, end of episode; octo and OpenVLA take the last "
        "four columns for angles and gripper, which this row does not follow"),
    Row(name="cmu_stretch", robot="Hello Stretch", hz=10,
        cameras=Cameras("observation/image"), motion=Motion("eef_delta", "action[0:6]"),
        gripper=Gripper("action[6]", AS_OPEN),
        state=State("euler", "observation/state[0:3] 0 0 0 0 observation/state[3]"),
        note="published ranges are zero but for x and z"),
    Row(name="gnm_dataset", robot="several bases", hz=None,
        cameras=Cameras("observation/image"),
        motion=Motion("base",
                      "observation/position[0:2] observation/yaw[0] action[0:2]",
                      functools.partial(waypoints, every=3)),
        gripper=NO_GRIPPER,
        state=State("base", "observation/position[0:2] 0 0 0 observation/yaw[0] 0 0"),
        every=3, drop_last=1,
        note="octo's collection, which TFDS has in three parts; its action has two columns, padded "
        "here as OpenVLA pads berkeley_gnm_*"),
    *(Row(name=name, robot=robot, hz=hz,
          cameras=Cameras(wrist="observation/image"), motion=Motion("base", "action[0:2] 0 0 0 0"),
          gripper=NO_GRIPPER,
          state=State("base", "observation/position[0:2] 0 0 0 observation/yaw[0] 0 0"),
          note="OpenVLA calls the base's waypoints end-effector deltas; octo subsamples them, see "
          "gnm_dataset, and calls the camera primary")
      for name, robot, hz in (("berkeley_gnm_recon", "Jackal", 3),
                              ("berkeley_gnm_cory_hall", "RC Car", 5),
                              ("berkeley_gnm_sac_son", "TurtleBot 2", 10))),
    *(Row(name=name, robot="ALOHA", hz=50,
          cameras=Cameras("observation/cam_high", "observation/cam_low",
                          "observation/cam_right_wrist"),
          motion=Motion("joint_absolute", "action[0:14]"), gripper=None,
          state=State("joints", "observation/state[0:14]"), every=5,
          note="octo's own copy: two arms of 6 joints and gripper, 10 Hz of 50; its features are "
          "published nowhere")
      for name in ("aloha_static_dataset", "aloha_dagger_dataset")),
    Row(name="aloha_mobile_dataset", robot="Mobile ALOHA", hz=50,
        cameras=Cameras("observation/cam_high", wrist="observation/cam_right_wrist"),
        motion=Motion("joint_absolute", "action[0:14]"), gripper=None,
        state=State("joints", "observation/state[0:14]"), every=5,
        note="octo's own copy, 10 Hz of 50; octo keeps the base's two velocities, columns 14 and "
        "15, which are left out here so that ALOHA's sets agree"),
    Row(name="fmb_dataset", robot="Franka", hz=10,
        cameras=Cameras("observation/image_side_1", "observation/image_side_2",
                        "observation/image_wrist_1"),
        motion=Motion("eef_delta", "action[0:6]"), gripper=Gripper("action[6]", AS_OPEN),
        state=State("quaternion", "observation/eef_pose[0:7] observation/state_gripper_pose[0]"),
        note="octo and OpenVLA call the state Euler angles, RDT a quaternion, of TFDS's `fmb`, "
        "which has 7 columns; RDT takes the actions for poses, published ranges reach 1.4"),
    Row(name="dobbe", robot="Hello Stretch", hz=30,
        cameras=Cameras(wrist="observation/wrist_image"),
        motion=Motion("eef_delta", "action[0:6]"), gripper=Gripper("action[6]", AS_OPEN),
        state=BRIDGE_STATE,
        note="OpenVLA puts the wrist camera in the primary's place"),
    Row(name="roboset", robot="Franka", hz=5,
        cameras=Cameras("observation/image_left", "observation/image_right",
                        "observation/image_wrist"),
        motion=Motion("joint_delta", "action[0:7]"),
        gripper=Gripper("action[7]", SIGNED_CLOSED, (clipped, inverted)),
        state=State("joints", "observation/state[0:8]"),
        note="TFDS's name is robo_set; RDT calls the action undetermined; OpenVLA loads no joints"),
    Row(name="rh20t", robot="Flexiv", hz=10,
        cameras=Cameras("observation/image_front", "observation/image_side_right",
                        "observation/image_wrist"),
        motion=Motion("eef_delta", "action/tcp_base[0:6]"),
        gripper=Gripper("action/gripper[0]", AS_OPEN),
        state=State("euler", "observation/tcp_base[0:6] 0 observation/gripper_width[0]"),
        note="octo's own copy, features published nowhere; six columns of tcp_base are a reading "
        "of octo's 7 action columns; several robots"),
    Row(name="rh20t_rlds", robot="Flexiv", hz=10,
        cameras=Cameras("observation/image"), motion=Motion("eef_delta", "action/tcp_base[0:6]"),
        gripper=Gripper("action/gripper[0]", AS_OPEN),
        state=State("euler", "observation/tcp_base[0:6] 0 observation/gripper_width[0]"),
        note="SpatialVLA's copy, features published nowhere: as rh20t with one camera"),
    Row(name="mujoco_manip", robot="simulated", hz=None,
        cameras=Cameras("observation/image"), motion=Motion("eef_delta", "action[0:6]"),
        gripper=Gripper("action[6]", "255 closed, 0 open", (from_255, inverted)), state=NO_STATE,
        note="octo's own set, features published nowhere"),
    Row(name="droid", robot="Franka", hz=15,
        cameras=Cameras("observation/exterior_image_1_left", "observation/exterior_image_2_left",
                        "observation/wrist_image_left"),
        motion=Motion("eef_delta", "action_dict/cartesian_velocity[0:6]"),
        gripper=Gripper("action_dict/gripper_position[0]", CLOSED, (inverted,)),
        state=State("euler",
                    "observation/cartesian_position[0:6] 0 observation/gripper_position[0]"),
        note="OpenVLA calls the state a quaternion, swaps the exterior cameras at random and skips "
        "steps without motion; actions are velocities; language_instruction_2 and _3 are more "
        "texts"),
    Row(name="droid_wipe", robot="Franka", hz=15,
        cameras=Cameras("observation/exterior_image_2_left", wrist="observation/wrist_image_left"),
        motion=Motion("eef_delta", "action_dict/cartesian_velocity[0:6]"),
        gripper=Gripper("action_dict/gripper_position[0]", CLOSED, (inverted,)),
        state=State("euler",
                    "observation/cartesian_position[0:6] 0 observation/gripper_position[0]"),
        note="OpenVLA's own set, in DROID's form"),
    *(Row(name=f"tdroid_{task}", robot="Franka", hz=5,
          cameras=Cameras("observation/static_image"), motion=Motion("eef_delta", "action[0:6]"),
          gripper=Gripper("action[6]", OPEN, (binarised,)),
          state=State("euler",
                      "observation/cartesian_position[0:6] 0 observation/gripper_position[0]"),
          note="OpenVLA's own set")
      for task in ("carrot_in_bowl", "pour_corn_in_pot", "flip_pot_upright",
                   "move_object_onto_plate", "knock_object_over", "cover_object_with_towel")),
    *(Row(name=f"libero_{suite}_no_noops", robot="Franka", hz=20,
          cameras=Cameras("observation/image", wrist="observation/wrist_image"),
          motion=Motion("eef_delta", "action[0:6]"),
          gripper=Gripper("action[6]", SIGNED_CLOSED, (clipped, inverted)),
          state=State("euler", "observation/state[0:8]"),
          note="OpenVLA's copy of LIBERO; the state's last two columns are the fingers, without "
          "OpenVLA's 0 before them; the controller's unit, no metres; simulated")
      for suite in ("spatial", "object", "goal", "10")),
)
# fmt: on

ROWS = {row.name: row for row in TABLE}


def find(name: str) -> Row:
    """The row of a data set.

    Raises:
      UserError: no such data set; names similar ones.
    """
    if name in ROWS:
        return ROWS[name]
    short = {known.removesuffix(SUFFIX): known for known in ROWS}
    near = [known for known in short if name and name in known][:3]
    near = near or difflib.get_close_matches(name.removesuffix(SUFFIX), short, n=3)
    meant = ", ".join(short[known] for known in near)
    hint = f"did you mean {meant}" if near else "see python -m data_pipelines.oxe"
    raise UserError(f"{name}: no such data set of Open X-Embodiment; {hint}")
