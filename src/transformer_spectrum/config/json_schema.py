"""JSON schemas of params.yaml and of configs, made from the pydantic models, by which editors complete and check."""

from __future__ import annotations

import json
from typing import Any

from transformer_spectrum.config.aliases import config_model
from transformer_spectrum.config.load import Params

DIALECT = "https://json-schema.org/draft/2020-12/schema"
RULES = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
"""What pydantic leaves in its own words inside optional fields."""


def _clean(node: Any) -> Any:
    """Without titles, which repeat the names, and without defaults, which are params.yaml's affair."""
    if isinstance(node, list):
        return [_clean(item) for item in node]
    if not isinstance(node, dict):
        return node
    cleaned = {}
    for key, value in node.items():
        if key == "properties" or key == "$defs":
            cleaned[key] = {name: _clean(inner) for name, inner in value.items()}
        elif key not in ("title", "default"):
            cleaned[RULES.get(key, key)] = _clean(value)
    return cleaned


def schema_text(which: str) -> str:
    """The schema as JSON text.

    Args:
        which: "params" or "config".

    >>> json.loads(schema_text("params"))["title"]
    'params.yaml of transformer-spectrum'
    """
    model = Params if which == "params" else config_model()
    tree = _clean(model.model_json_schema())
    title = {"params": "params.yaml of transformer-spectrum", "config": "config of transformer-spectrum train"}[which]
    return json.dumps({"$schema": DIALECT, "title": title, **tree}, indent=2) + "\n"
