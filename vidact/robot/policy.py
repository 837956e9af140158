"""The robot's policy: a camera picture, the joint state and an instruction in, actions out.

Example:
  policy = Policy.load("exported")
  chunk = policy.act(image, state, "open the drawer")  # [Ta, A], in robot units
  commands = policy.interpolate(chunk, hz=100.0)

Nothing is kept between calls, so that several threads may share a policy. Actions are not clipped:
the robot's limits are its controller's, and `config.statistics["action"]` has the extremes of the
demonstrations.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8

from vidact import actions, text
from vidact.errors import UserError
from vidact.robot import config as config_lib
from vidact.robot import weights
from vidact.robot.codec import LinearCodec
from vidact.robot.config import RobotConfig
from vidact.robot.covar import CoVAR, Observation
from vidact.robot.sampling import Request

MODEL, CODEC = "model.safetensors", "codec.safetensors"
Noise = tuple[torch.Tensor, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Policy:
    """A loaded model with what it needs to act.

    Attributes:
      config: sizes, rates and statistics.
      model: the network, float32.
      codec: between frames and latents.
      device: where both live.
    """

    config: RobotConfig
    model: CoVAR
    codec: LinearCodec
    device: torch.device

    @classmethod
    def load(cls, folder: str | pathlib.Path, device: str | torch.device = "cpu") -> "Policy":
        """Reads a folder that `vidact.export` wrote; no pickle, so that no file runs code.

        Args:
          folder: which.
          device: as PyTorch names it: cpu, cuda, cuda:1, mps.

        Raises:
          UserError: a file is missing or damaged, or does not fit the others; or there is no such
            device here.
        """
        folder, device = pathlib.Path(folder), _device(device)
        config = config_lib.read(folder)
        sizes = config.model
        patch, frames = weights.metadata(folder / CODEC, ("patch", "frames"))
        with torch.device("meta"):  # the arrays come from the files, not from an initialiser
            model = CoVAR(sizes)
            codec = LinearCodec(*config.resolution, patch, frames, sizes.latent_channels)
        weights.load(model, folder / MODEL)
        weights.load(codec, folder / CODEC)
        return cls(config, model.to(device), codec.to(device), device)

    def act(
        self,
        image: UInt8[np.ndarray, "*b h w c"],
        state: Float[np.ndarray, "*b s"],
        instruction: str | Sequence[str],
        *,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int | None = None,
        noise: Noise | None = None,
    ) -> Float[np.ndarray, "*b m a"]:
        """The actions from now on.

        Args:
          image: RGB, 0 to 255, at the resolution of the training data; one, or a batch of B. A
            model of several cameras takes the tiled frame; `vidact.tiles.boxes` says where each
            camera's picture lies in it.
          state: proprioception in robot units, `config.width("state")` numbers.
          instruction: one for all, or one for each of the batch.
          steps: Euler steps of the actions; by default as evaluated, see `config.sampling`.
          guidance: classifier-free guidance of the actions, 1 = off; by default as evaluated. Of
            both give only what `vidact.evaluate` takes: it refuses what was never trained.
          seed: of the noise; None draws anew.
          noise: latents [B, n, h, w, c] and actions [B, Ta, A] to start from, instead of a seed.

        Returns:
          [Ta, A] or [B, Ta, A], float32 in robot units, `config.fps` of them a second; A is
          `config.width("action")`.

        Raises:
          UserError: an input does not fit the model or is not finite, or an action is not finite.
        """
        images, states = (image, state) if image.ndim == 4 else (image[None], state[None])
        count = len(images)
        texts = [instruction] * count if isinstance(instruction, str) else list(instruction)
        observation = self.observe(images, states, texts)
        request = self._request(steps, guidance)
        latents, chunk = self.noise(count, seed) if noise is None else noise
        _, chunk = self.model.denoise(
            observation, latents.to(self.device), chunk.to(self.device), request
        )
        own = chunk[..., : self.config.width("action")].cpu().numpy()
        statistics, method = self.config.statistics["action"], self.config.normalisation
        out = actions.denormalise(own, statistics, method)
        if not np.isfinite(out).all():
            raise UserError("actions: not finite; check the weights with vidact.export --verify")
        return out if image.ndim == 4 else out[0]

    def observe(
        self,
        images: UInt8[np.ndarray, "b h w c"],
        states: Float[np.ndarray, "b s"],
        instructions: Sequence[str],
    ) -> Observation:
        """Encodes what the robot sees, knows and is told; see `act`."""
        self._check(images, states, instructions)
        config, device = self.config, self.device
        sizes = config.model
        normalised = np.zeros((len(states), sizes.state_dim), np.float32)  # as narrow data train
        normalised[:, : states.shape[1]] = actions.normalise(
            states, config.statistics["state"], config.normalisation
        )
        if not config.uses_text:
            instructions = [""] * len(images)
        words, mask = text.tokenize(instructions, sizes.max_words, sizes.vocabulary)
        pixels = torch.from_numpy(np.array(images))  # it may be a flipped view, or read-only
        return Observation(
            condition=self.codec.encode(pixels.to(device)[:, None]),
            state=torch.from_numpy(normalised).to(device),
            text=torch.from_numpy(words).to(device),
            text_mask=torch.from_numpy(mask).to(device),
            fps=torch.full((len(images),), self.config.fps, device=device),
        )

    def noise(self, count: int, seed: int | None = None) -> Noise:
        """Latents [B, n, h, w, c] and actions [B, Ta, A]; the same on every device."""
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        config, p = self.config, self.codec.patch
        height, width = (side // p for side in config.resolution)
        shape = (count, config.latents, height, width, config.model.latent_channels)
        latents = torch.randn(shape, generator=generator)
        return latents, torch.randn(
            (count, config.actions, config.model.action_dim), generator=generator
        )

    def interpolate(
        self, chunk: Float[np.ndarray, "m a"], hz: float = 100.0
    ) -> Float[np.ndarray, "n a"]:
        """A chunk resampled to the robot's command rate; see `vidact.actions.interpolate`.

        Columns that are displacements would have to be divided by hz / `config.fps` besides.
        """
        return actions.interpolate(chunk, self.config.fps, hz)

    def _request(self, steps: int | None, guidance: float | None) -> Request:
        known = self.config.sampling
        try:
            return dataclasses.replace(
                known,
                action_steps=known.action_steps if steps is None else steps,
                action_guidance=known.action_guidance if guidance is None else guidance,
            )
        except ValueError as error:
            raise UserError(f"{error}; change what act is given") from error

    def _check(self, images: np.ndarray, states: np.ndarray, texts: Sequence[str]) -> None:
        wanted = (*self.config.resolution, 3)
        if images.shape[1:] != wanted or images.dtype != np.uint8:
            raise UserError(
                f"image: {images.dtype} {images.shape[1:]}; the model takes uint8 {wanted}: resize"
            )
        rows = (len(images), self.config.width("state"))
        if states.shape != rows:
            raise UserError(
                f"state: shape {states.shape}; must be {rows}, the columns of "
                f"{self.config.data_set}'s state for each image"
            )
        if not np.isfinite(states).all():
            raise UserError("state: not finite; check the robot's sensors")
        if len(texts) != len(images):
            raise UserError(f"instruction: {len(texts)} for {len(images)} images; give one each")


def _device(name: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (AssertionError, ImportError, RuntimeError) as error:  # not built in, or none
        reason = str(error).splitlines()[0]
        raise UserError(f"device {str(name)!r}: {reason}; choose another, or cpu") from error
