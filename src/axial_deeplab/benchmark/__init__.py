"""Times and memory of the attention layer and of whole networks, measured side by side."""
