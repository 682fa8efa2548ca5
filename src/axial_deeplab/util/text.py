"""Words for people: lists that are not too long."""

from collections.abc import Sequence


def shortened(values: Sequence[object], limit: int) -> str:
    """Return the first values as a list for a message, and how many more there are.

    Args:
        values: what to list, in its order.
        limit: most values to name.
    """
    shown = ", ".join(map(str, values[:limit]))
    return shown if len(values) <= limit else f"{shown} and {len(values) - limit} more"
