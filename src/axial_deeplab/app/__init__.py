"""A page in the browser: drop a picture, see its segments, click a pixel, see where it looks."""
