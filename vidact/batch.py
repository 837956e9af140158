"""The structures that cross rooms; shapes and units in the docstrings."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """B windows of robot episodes as NumPy arrays: what data_pipelines hands to training.

    A window holds T frames and Ta = T - 1 actions: action i leads from frame i to frame i + 1.

    Attributes:
      video: RGB frames, 0 to 255, of one camera or of several (see `vidact.tiles`); None where
        latents are stored.
      actions: normalised (see `vidact.actions.normalise`), without unit.
      action_mask: False = padding or no label: no loss, and no attention key.
      frame_mask: False = padding (a repeat of the last frame).
      state: proprioception at the first frame, normalised, without unit.
      text: word ids of the instruction (see `vidact.text`), 0 = padding, or stored embeddings.
      text_mask: True = a word; at least one a row.
      fps: frames (and actions) a second.
      embodiment_id: index of the robot.
      dataset_id: index of the data set.
      latents, condition, latent_mask: stored latents of the window and of its first frame alone,
        and which of them cover recorded frames only.
      coarse: normalised actions that a trained model sampled, for training a refiner.
    """

    video: UInt8[np.ndarray, "B T H W 3"] | None
    actions: Float[np.ndarray, "B Ta A"]
    action_mask: Bool[np.ndarray, "B Ta A"]
    frame_mask: Bool[np.ndarray, "B T"]
    state: Float[np.ndarray, "B S"]
    text: Int[np.ndarray, "B L"] | Float[np.ndarray, "B L D"]
    text_mask: Bool[np.ndarray, "B L"]
    fps: Float[np.ndarray, " B"]
    embodiment_id: Int[np.ndarray, " B"]
    dataset_id: Int[np.ndarray, " B"]
    latents: Float[np.ndarray, "B n h w c"] | None = None
    condition: Float[np.ndarray, "B 1 h w c"] | None = None
    latent_mask: Bool[np.ndarray, "B n"] | None = None
    coarse: Float[np.ndarray, "B Ta A"] | None = None

    @property
    def pixels(self) -> UInt8[np.ndarray, "B T H W 3"]:
        """`video`, of batches that are made of pixels."""
        assert self.video is not None, "a batch of stored latents has no video"
        return self.video

    def as_dict(self) -> dict[str, np.ndarray]:
        """Name -> array of what there is, not copied."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in found.items() if value is not None}
