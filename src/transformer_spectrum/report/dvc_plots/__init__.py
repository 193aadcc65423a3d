"""The figures of `dvc plots`: Vega-Lite templates, the page that shows them offline, and PNG files of them."""
