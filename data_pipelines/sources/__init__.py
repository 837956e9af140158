"""Where episodes come from; each source is a sequence of `episode.Episode`."""
