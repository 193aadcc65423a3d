"""The report of a study: its answer in words, pictures and tables, as a page, as Markdown and for a paper."""
