"""Google's sections as this repository writes them, without blank lines between them, for mkdocstrings."""

import re
from typing import Any

from griffe import Extension, Object

# A last section of ours that Google's style does not know becomes a paragraph of its own.
HEADING = re.compile(r"\n(?=[ \t]*(?:Args|Attributes|Returns|Yields|Raises|Source):)")
# "x: > 0, unit" says what x may be; Markdown would take the rest for a quotation.
BOUND = re.compile(r"^([ \t]+[\w, *]+: )>", re.MULTILINE)

# "x, y: what both are" is an entry for each.
LISTED = re.compile(r"^([ \t]*)(?:Args|Attributes):\n(?:\1[ \t]+.*\n?)+", re.MULTILINE)
SHARED = re.compile(r"^([ \t]+)(\w+(?:, \w+)+)(:.*(?:\n\1[ \t]+.*)*)", re.MULTILINE)

# An example, from its first >>> to the next blank line; to Markdown alone it would be a quotation, too.
EXAMPLE = re.compile(r"^([ \t]*)>>> .*(?:\n(?![ \t]*$).*)*", re.MULTILINE)


def _each(entry: re.Match[str]) -> str:
    indent, names, text = entry.groups()
    return "\n".join(f"{indent}{name}{text}" for name in names.split(", "))


class Sections(Extension):
    """Makes Markdown of a docstring: blank lines before headings, ranges with their signs, examples as code."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            text = LISTED.sub(lambda section: SHARED.sub(_each, section[0]), obj.docstring.value)
            text = BOUND.sub(r"\1\>", HEADING.sub("\n\n", text))
            obj.docstring.value = EXAMPLE.sub(r"\n\1```pycon\n\g<0>\n\1```", text)
