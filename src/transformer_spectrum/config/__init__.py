"""Every parameter: its meaning and range, where its value comes from, and what people may call it."""
