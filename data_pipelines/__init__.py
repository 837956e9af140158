"""From robot episodes on disk to batches: sources, windows, statistics and the grain pipeline."""
