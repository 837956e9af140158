"""Simulators behind one small interface: they make episodes and judge policies; no JAX."""
