"""Every parameter: its meaning and range, where its value comes from, and what people may call it.

The journey of one, `loss.q`: `schema` declares the knob, `load` reads and checks all of params.yaml as `Params`,
`resolve` puts a flag over a config over params.yaml over the package's default, and from then on everything takes
`params.loss.q` from that one object. Beside the road: `aliases` (other names, in configs), `help` and `json_schema`
(what is said of it), `wheel_files` (the file of defaults), `tree` (dotted names taken apart and put together).
"""
