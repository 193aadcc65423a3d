"""Google's sections as this repository writes them, without blank lines between them, for mkdocstrings."""

import re
from typing import Any

from griffe import Extension, Object

# A last section of ours that Google's style does not know becomes a paragraph of its own.
HEADING = re.compile(r"\n(?=[ \t]*(?:Args|Attributes|Returns|Yields|Raises|Source):)")


class Sections(Extension):
    """Puts a blank line before each heading of a docstring."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = HEADING.sub("\n\n", obj.docstring.value)
