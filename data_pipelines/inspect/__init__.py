"""`python -m data_pipelines.inspect`: validates a data set, or shows it on one HTML page."""
