"""What a run came to, in words and pictures: figures, pages, and the plots of DVC.

What examples call `run` is `report.run.read_run(params)` of a small, made-up run, and `caption` its caption; for
`params`, `models`, `summaries`, `forecast` and `examination` see `analysis`.
"""
