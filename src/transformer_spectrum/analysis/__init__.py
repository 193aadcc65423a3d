"""Statistics of trainings and of checkpoints: metrics, nulls, tails, heads, submatrices; what the library offers.

What examples call `summaries` is `of_training.inputs.summaries_of(params, models)`, with `params` from params.yaml and
`models` the folder of each optimizer's training, {"adam": Path("models/adam"), ...}; `forecast` is
`read_forecasts(models)` from there, `examination` what `of_checkpoint.checkpoint.examine` gives of
models/adam/best.safetensors. The run is a small, made-up one.
"""
