"""Work that is done ahead keeps its order and its bound."""

from axial_deeplab.util.in_order import in_order


def test_no_more_is_given_away_than_asked():
    given: list[int] = []

    def submit(item: int) -> str:
        given.append(item)
        return str(item)

    pairs = in_order(submit, iter(range(9)), 3)
    assert [next(pairs) for _ in range(4)] == [(item, str(item)) for item in range(4)]
    assert given == list(range(6))
    assert [item for item, _ in pairs] == [4, 5, 6, 7, 8]
    assert list(in_order(submit, [], 3)) == []
