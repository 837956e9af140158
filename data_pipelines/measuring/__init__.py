"""What `python -m data_pipelines.benchmark` measures."""
