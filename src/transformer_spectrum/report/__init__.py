"""Tables and figures of one run of the pipeline."""
