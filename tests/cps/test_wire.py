"""Tests of pbx_stir.cps.wire."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.cps import wire
from pbx_stir.cps.wire import Listed, Resource, Target
from pbx_stir.errors import MalformedAnswer, MalformedNumber

ID = "A" * 22
NUMBER = "22225552222"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/health", Target(Resource.HEALTH)),
        ("/cps/22225552222/ppts", Target(Resource.COLLECTION, NUMBER)),
        ("/cps/2.222.555.2222/ppts", Target(Resource.COLLECTION, NUMBER)),
        ("/cps/+22225552222/ppts", Target(Resource.COLLECTION, NUMBER)),
        ("/cps/%2B22225552222/ppts", Target(Resource.COLLECTION, NUMBER)),
        ("/cps/%2b2%2e222.555.2222/ppts", Target(Resource.COLLECTION, NUMBER)),
        (f"/cps/22225552222/ppts/{ID}", Target(Resource.ITEM, NUMBER, ID)),
        (f"/cps/2.222.555.2222/ppts/{ID}/", Target(Resource.ITEM, NUMBER, ID)),
        ("/cps/22225552222/ppts/ppt1", Target(Resource.ITEM, NUMBER, "")),
        ("/cps/22225552222/keys", Target(Resource.KEYS, NUMBER)),
        ("/cps/2222*/ppts", Target(Resource.BULK, "2222")),
        ("/cps/+2.222%2A/ppts", Target(Resource.BULK, "2222")),
        (f"/cps/2222%2a/ppts/{ID}/", Target(Resource.BULK_ITEM, "2222", ID)),
        ("/cps/2222*/ppts/ppt1", Target(Resource.BULK_ITEM, "2222", "")),
    ],
)
def test_a_path_names_one_thing(path: str, target: Target) -> None:
    """All forms of a number are one, with and without a trailing slash is one item."""
    assert wire.parse_target(path) == target


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "*",
        "/cps",
        "/cps/22225552222",
        "/cps/22225552222/",
        "/cps/22225552222/ppts//",
        f"/cps/22225552222/ppts/{ID}//",
        f"/cps/22225552222/ppts/{ID}/x",
        "/CPS/22225552222/ppts",
        "//cps/22225552222/ppts",
        "/cps//22225552222/ppts",
        "/./cps/22225552222/ppts",
        "/cps/../cps/22225552222/ppts",
        "/cps/22225552222%2Fppts",
        "/cps/2222%2F5552222/ppts",
        "/cps/22225552222/ppts/..%2f..%2fhealth",
        "/cps/22225552222/ppts/%00",
        "/cps/2222%0a5552222/ppts",
        "/cps/%EF%BC%91/ppts",
        "/cps/22225552222/ppts/",
        "/cps/22225552222/keys/",
        "/health/",
        "/cps/" + "2" * 300 + "/ppts",
    ],
)
def test_other_paths_name_nothing(path: str) -> None:
    """Encoded slashes, dot segments and control characters lead nowhere."""
    assert wire.parse_target(path) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "..",
        "2222%252F555",
        "1-212-555-1234",
        "1" * 16,
        "+",
        "%2B%2B1",
        "9*1",
        "*",
        "**",
        "911**",
        "1" * 16 + "*",
    ],
)
def test_a_wrong_number_is_said(name: str) -> None:
    """A path that is right but for its number is told apart from one that is not there."""
    with pytest.raises(MalformedNumber):
        wire.parse_target(f"/cps/{name}/ppts")


@given(st.text(max_size=80))
def test_any_path_is_read_or_refused(path: str) -> None:
    """No path raises anything but MalformedNumber, and a number read is canonical."""
    for each in (path, f"/cps/{path}/ppts", f"/cps/12125551234/ppts/{path}"):
        try:
            target = wire.parse_target(each)
        except MalformedNumber:
            continue
        assert target is None or not target.number or target.number.isdigit()


def test_our_own_paths_are_read_back() -> None:
    """What is written as Location or href names the same thing when read."""
    entry_id = wire.format_id(bytes(range(16)))
    assert wire.is_id(entry_id)
    for path, target in (
        (wire.collection_path(NUMBER), Target(Resource.COLLECTION, NUMBER)),
        (wire.item_path(NUMBER, entry_id), Target(Resource.ITEM, NUMBER, entry_id)),
        (wire.keys_path(NUMBER), Target(Resource.KEYS, NUMBER)),
    ):
        assert wire.parse_target(path) == target


@pytest.mark.parametrize(
    "text", ["", "A" * 21, "A" * 23, "A" * 21 + "+", "A" * 22 + "\n", "é" * 22]
)
def test_other_ids_are_none(text: str) -> None:
    """An id has 22 base64url characters, and nothing else."""
    assert not wire.is_id(text)


@given(
    st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.binary(max_size=40)), max_size=64)
)
def test_lists_are_read_back(entries: list[tuple[bytes, bytes]]) -> None:
    """All three forms of a list come back in order."""
    pairs = [
        (wire.format_id(octets), wire.format_id(text + bytes(16)).encode())
        for octets, text in entries
    ]
    ids = [entry_id for entry_id, _ in pairs]
    hrefs = tuple(Listed(wire.item_path(NUMBER, each)) for each in ids)
    assert wire.parse_list(wire.format_list(NUMBER, ids), "application/json") == hrefs
    assert wire.parse_list(wire.format_uri_list(NUMBER, ids), "text/uri-list; charset=x") == hrefs
    expanded = wire.format_expanded(NUMBER, pairs)
    assert json.loads(expanded)["ppts"] == [
        {"href": wire.item_path(NUMBER, each), "passport": text.decode()} for each, text in pairs
    ]
    assert wire.parse_list(expanded, "application/json; charset=utf-8") == tuple(
        Listed(wire.item_path(NUMBER, each), text) for each, text in pairs
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"ppts":null}',
        b'{"ppts":{}}',
        b'{"ppts":[1]}',
        b'{"ppts":[{"passport":"x"}]}',
        b'{"ppts":[{"href":1}]}',
        b'{"ppts":["//evil.example/x"]}',
        b'{"ppts":["/a//b"]}',
        b'{"ppts":["javascript:x"]}',
        b'{"ppts":["/a?b"]}',
        b'{"ppts":["/a b"]}',
        b'{"ppts":["relative"]}',
        b'{"ppts":["/\\n"]}',
        b'{"ppts":["/' + b"a" * 600 + b'"]}',
        b'{"ppts":["\xff"]}',
        b"[" * 100_000,
    ],
)
def test_a_wrong_list_is_refused(body: bytes) -> None:
    """A list of another form, or with hrefs that are no paths, is refused whole."""
    with pytest.raises(MalformedAnswer):
        wire.parse_list(body, "application/json")


@given(st.binary(max_size=200), st.sampled_from(["application/json", "text/uri-list", ""]))
def test_any_body_is_read_or_refused(body: bytes, content_type: str) -> None:
    """No octets raise anything but MalformedAnswer, in any of the parsers."""
    for parse in (lambda: wire.parse_list(body, content_type), lambda: wire.parse_records(body)):
        try:
            parse()
        except MalformedAnswer:
            continue
    assert wire.parse_problem(body).isprintable()


def test_a_long_list_is_cut() -> None:
    """A CPS that lists thousands gives us the newest 64."""
    many = ",".join(f'"/cps/1/ppts/{n}"' for n in range(5000))
    assert len(wire.parse_list(f'{{"ppts":[{many}]}}'.encode(), "application/json")) == 64
    lines = "".join(f"/cps/1/ppts/{n}\n" for n in range(5000))
    assert len(wire.parse_list(lines.encode(), "text/uri-list")) == 64


@pytest.mark.parametrize(
    ("accept", "uri_list"),
    [
        ("", False),
        ("*/*", False),
        ("text/uri-list", True),
        ("TEXT/URI-LIST", True),
        ("text/uri-list, application/json", True),
        ("text/uri-list;q=0.5, application/json", False),
        ("application/json;q=0.1, text/uri-list;q=0.2", True),
        ("text/uri-list;q=0", False),
        ("text/uri-list;q=7", False),
        ("text/html,,;;q=", False),
    ],
)
def test_a_list_is_json_unless_asked(accept: str, uri_list: bool) -> None:
    """Only who names text/uri-list gets it, weights respected."""
    assert wire.prefers_uri_list(accept) is uri_list


def test_records_are_read_back_and_cut() -> None:
    """Records come back as they are; a flood of them is cut."""
    assert wire.parse_records(wire.format_records(["a.b.c", "d.e.f"])) == ("a.b.c", "d.e.f")
    assert wire.parse_records(wire.format_records([])) == ()
    assert len(wire.parse_records(wire.format_records(["x"] * 1000))) == wire.MAX_RECORDS


def test_a_page_of_records_is_read_back() -> None:
    """Its records, and where the next page begins; a path that leads elsewhere is refused."""
    following = wire.next_keys_path("1212", "121.17")
    assert following == "/cps/1212*/keys?after=121.17"
    body = wire.format_records(["a.b.c"], following)
    assert wire.parse_records_page(body) == (("a.b.c",), "121.17")
    assert wire.parse_records_page(wire.format_records([])) == ((), "")
    for path in (
        "https://evil.example/keys?after=1",
        "/keys",
        "/a/keys?after=1&x=2",
        "/keys?after=",
    ):
        with pytest.raises(MalformedAnswer):
            wire.parse_records_page(wire.format_records([], path))


def test_a_prefix_of_keys_is_a_path_of_its_own() -> None:
    """Every way to write the number, and the star as it is or encoded."""
    for name in ("1.212.555*", "+1212555*", "%2B1212555%2A"):
        target = wire.parse_target(f"/cps/{name}/keys")
        assert target == wire.Target(wire.Resource.BULK_KEYS, "1212555")


def test_a_problem_says_what_it_is() -> None:
    """An error's body has title, status and detail, and its detail is read back."""
    body = wire.format_problem(413, "at most 5 octets")
    said = json.loads(body)
    assert (said["status"], said["detail"]) == (413, "at most 5 octets")
    assert said["title"]
    assert wire.parse_problem(body) == "at most 5 octets"


def test_a_hostile_problem_is_tamed() -> None:
    """What a CPS says goes into a log: printable ASCII, bounded."""
    body = json.dumps({"detail": "a\r\nb\x1b[31m" + "x" * 1000}).encode()
    assert wire.parse_problem(body).startswith("a??b?[31mx")
    assert len(wire.parse_problem(body)) == 200
    assert wire.parse_problem(b"<html>") == ""


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784111777.0),
        ("", None),
        ("yesterday", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("x" * 1000, None),
    ],
)
def test_a_date_is_a_moment_or_none(value: str, moment: float | None) -> None:
    """A Date header that cannot be read is as good as none."""
    assert wire.parse_date(value) == moment


@given(st.text(max_size=64))
def test_any_date_is_read_or_none(value: str) -> None:
    """No Date header raises."""
    wire.parse_date(value)
