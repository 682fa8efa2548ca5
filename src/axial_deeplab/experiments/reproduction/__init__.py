"""The paper's comparisons in small: networks of one recipe on the built-in scenes, several seeds each."""
