"""A page in the browser to make pictures with. It uses ``guidance`` and ``utils``; nothing of these knows of it."""
