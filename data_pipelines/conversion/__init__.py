"""From any source to the `converted` kind: see `data_pipelines.convert`."""
