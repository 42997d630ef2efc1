"""Places by prefix and arrival: what a list would give, and no look that costs much."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.cps.places import MAX_WALKED, Cursor, Place, Places

_places = st.builds(
    Place,
    st.integers(0, 50).map(float),
    st.text("abcdef", min_size=22, max_size=22),
    st.from_regex(r"\A1212555[0-9]{1,4}\Z|\A44[0-9]{2,9}\Z|\A[12]\Z"),
)
_prefixes = st.sampled_from(["", "1", "12", "121", "1212555", "12125551", "44", "4420", "999"])


@given(
    st.lists(_places, max_size=40, unique_by=lambda one: one.id),
    _prefixes,
    st.integers(1, 8),
    st.integers(0, 60).map(float),
    st.data(),
)
def test_places_are_what_a_list_would_be(
    places: list[Place], prefix: str, most: int, oldest: float, data: st.DataObject
) -> None:
    """Whatever comes in which order, is taken out and forgotten: by prefix, newest first."""
    index = Places()
    for place in places:
        index.add(place)
    removed = data.draw(st.lists(st.sampled_from(places), unique=True)) if places else []
    for place in [*removed, *removed]:
        index.remove(place)
    left = [one for one in places if one not in removed]
    gone = index.forget_before(oldest)
    assert sorted(gone) == sorted(one for one in left if one.arrival < oldest)
    left = [one for one in left if one.arrival >= oldest]
    assert len(index) == len(left)
    found: list[Place] = []
    cursor: Cursor | None = None
    while True:
        walked = index.walk(prefix, cursor, most)
        assert len(walked.places) <= most
        found += walked.places
        cursor = walked.cursor
        if cursor is None:
            break
    wanted = [one for one in left if one.number.startswith(prefix)]
    assert found == sorted(wanted, reverse=True)
    index.forget_before(99.0)
    assert index._rows == {"": []}


def test_a_look_is_bounded() -> None:
    """Among very many others it stops, and goes on from there, until the one that is wanted."""
    index = Places()
    index.add(Place(0.0, "wanted", "12125551234"))
    for each in range(MAX_WALKED * 2):
        index.add(Place(1.0 + each, f"{each}", "12125559999"))
    cursors = []
    cursor: Cursor | None = None
    for _ in range(3):
        places, cursor = index.walk("12125551", cursor, 64)
        cursors.append((len(places), cursor is None))
    assert cursors == [(0, False), (0, False), (1, True)]
    # of another area nothing is looked at
    assert index.walk("442071", None, 64) == ([], None)


def test_the_beginning_of_an_id_is_enough_to_go_on() -> None:
    """What is behind a cursor is the same with eight characters of its id."""
    index = Places()
    for each in "cab":
        index.add(Place(1.0, each * 22, "12125551234"))
    [first], cursor = index.walk("12", None, 1)
    assert first.id == "c" * 22
    assert cursor == Cursor(1.0, "c" * 22)
    assert [one.id[0] for one in index.walk("12", Cursor(1.0, "c" * 8), 9).places] == ["b", "a"]
