"""vidact: joint video + action diffusion models for robot manipulation, in JAX."""

__version__ = "0.1.0"
