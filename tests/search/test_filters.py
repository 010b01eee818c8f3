"""Filters say what SQL says, and a wrong one says where."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.errors import InputError
from likewise.search.columns import column_from_values
from likewise.search.filters import parse_filter

ROWS = [
    {"shop": "A", "price": 5, "sale": True, "unit price": 1.5},
    {"shop": "B", "price": 20, "sale": False, "unit price": -2.0},
    {"shop": "it's", "price": None, "sale": None, "unit price": 0.0},
    {"shop": None, "price": 19, "sale": True, "unit price": None},
    {"shop": "A_100%", "price": -7, "sale": False, "unit price": 1e9},
]
COLUMNS = {
    name: column_from_values([row[name] for row in ROWS], name)
    for name in ("shop", "price", "sale", "unit price")
}


def found(where: str) -> list[int]:
    return np.flatnonzero(parse_filter(where).mask(COLUMNS)).tolist()


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("shop = 'A' and price < 20", [0]),
        ("SHOP = 'A' or price >= 19", None),
        ("price < 20", [0, 3, 4]),
        ("not price < 20", [1]),
        ("not (price < 20 or shop = 'B')", []),
        ("price is null", [2]),
        ("price is not null and not sale", [1, 4]),
        ("sale", [0, 3]),
        ("sale = false", [1, 4]),
        ("shop in ('A', 'B', 'zz')", [0, 1]),
        ("shop not in ('A', 'B')", [2, 4]),
        ("price in (5, 19.0)", [0, 3]),
        ("shop = 'it''s'", [2]),
        ("shop like 'A%'", [0, 4]),
        ("shop like '_'", [0, 1]),
        ("shop like '%100%'", [4]),
        ("shop not like '%A%'", [1, 2]),
        ("price between 5 and 19", [0, 3]),
        ("price not between 5 and 19", [1, 4]),
        ('"unit price" <= 0', [1, 2]),
        ("price=-7 OR price<>20 AND shop>'A'", [4]),
        ("price == 5 or price != 5 and sale", [0, 3]),
        ("((((price))=5))".replace("((((price))=5))", "((((price = 5))))"), [0]),
        ("price < 1e2 and price > -.5", [0, 1, 3]),
    ],
)
def test_a_filter_finds_what_it_says(where: str, rows: list[int] | None) -> None:
    if rows is None:
        with pytest.raises(InputError, match="no column 'SHOP'"):
            found(where)
    else:
        assert found(where) == rows


@pytest.mark.parametrize(
    ("where", "character", "told"),
    [
        ("", 1, "expected a column; found the end"),
        ("price <", 8, "expected a value; found the end"),
        ("price < 20 shop = 'A'", 12, "expected 'and', 'or' or the end; found 'shop'"),
        ("shop = 'A", 8, "closing quote"),
        ("shop = A", 8, "single quotes"),
        ('shop = "A"', 8, "single quotes"),
        ("(price < 20", 12, "expected ')'"),
        ("price << 20", 8, "expected a value; found '<'"),
        ("price < 20 & sale", 12, "the sign '&'"),
        ("and price < 20", 1, "expected a column; found 'and'"),
        ("price is 5", 10, "expected 'null'"),
        ("price not 5", 11, "'in', 'like' or 'between'"),
        ("shop in 'A'", 9, "expected '('"),
        ("shop in ('A'", 13, "expected ',' or ')'"),
        ("price between 1, 2", 16, "expected 'and'"),
        ("cost < 20", 1, "no column 'cost'"),
        ("sale and shop < 20", 10, "holds text; compared with 20"),
        ("price = '20'", 1, "holds numbers; compared with '20'"),
        ("price like '2%'", 1, "holds numbers"),
        ("sale > true", 1, "no order"),
        ("price < 1e999", 9, "expected a value"),
        ("price < 20; drop table records", 11, "the sign ';'"),
        ("price < 12abc", 9, "found the sign '1'"),
    ],
)
def test_a_wrong_filter_says_where(where: str, character: int, told: str) -> None:
    with pytest.raises(InputError) as caught:
        found(where)
    assert told in str(caught.value)
    assert f"at character {character} of" in str(caught.value)


@pytest.mark.parametrize(
    "where", ["(" * 3000 + "sale" + ")" * 3000, "not " * 3000 + "sale", "sale or " * 2000 + "sale", 5, None]
)
def test_a_filter_that_would_exhaust_us_is_refused(where: object) -> None:
    with pytest.raises(InputError, match="where"):
        parse_filter(where)  # type: ignore[arg-type]


def test_a_pattern_cannot_make_matching_explode() -> None:
    column = column_from_values(["a" * 5000], "text")
    assert not parse_filter(f"text like '{'%a' * 200}b'").mask({"text": column}).any()


def test_a_column_without_any_value_finds_nothing() -> None:
    columns = {"empty": column_from_values([None, None], "empty")}
    for where in ("empty = 5", "empty = 'x'", "not empty = 5", "empty like '%'"):
        assert not parse_filter(where).mask(columns).any()
    assert parse_filter("empty is null").mask(columns).all()


LITERALS = st.one_of(
    st.integers(-3, 3).map(str), st.sampled_from(["'a'", "'b'", "'%a%'", "'_'", "true", "false", "1.5"])
)
LEAVES = st.one_of(
    st.builds(
        "{} {} {}".format,
        st.just("n"),
        st.sampled_from(["=", "<", "<=", ">", ">=", "!=", "<>"]),
        st.integers(-3, 3),
    ),
    st.builds("n in ({}, {})".format, st.integers(-3, 3), st.integers(-3, 3)),
    st.builds("n not between {} and {}".format, st.integers(-3, 3), st.integers(-3, 3)),
    st.sampled_from(["n is null", "n is not null", "t is null"]),
    st.builds("t {} '{}'".format, st.sampled_from(["=", "<", ">="]), st.sampled_from(["a", "ab", "b", ""])),
    st.builds(
        "t {} '{}'".format,
        st.sampled_from(["like", "not like"]),
        st.sampled_from(["a%", "%b", "_", "%", "a%b%"]),
    ),
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds("not ({})".format, inner),
        st.builds("({} and {})".format, inner, inner),
        st.builds("{} or {}".format, inner, inner),
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(
    FILTERS,
    st.lists(
        st.tuples(st.none() | st.integers(-3, 3), st.none() | st.sampled_from(["a", "ab", "b", ""])),
        min_size=1,
        max_size=12,
    ),
)
def test_it_agrees_with_sqlite(where: str, rows: list) -> None:
    columns = {
        "n": column_from_values([row[0] for row in rows], "n"),
        "t": column_from_values([row[1] for row in rows], "t"),
    }
    database = sqlite3.connect(":memory:")
    database.execute("pragma case_sensitive_like = on")
    database.execute("create table r (i integer, n integer, t text)")
    database.executemany("insert into r values (?, ?, ?)", [(i, *row) for i, row in enumerate(rows)])
    expected = [row[0] for row in database.execute(f"select i from r where {where} order by i")]
    database.close()
    assert np.flatnonzero(parse_filter(where).mask(columns)).tolist() == expected


@settings(deadline=None, max_examples=100)
@given(
    st.text(max_size=40)
    | st.lists(
        st.sampled_from(
            ["n", "=", "(", ")", "and", "not", "'a'", "5", "in", "like", ",", "between", "is", "null", '"']
        ),
        max_size=12,
    ).map(" ".join)
)
def test_any_text_is_a_filter_or_one_clear_line(where: str) -> None:
    try:
        mask = parse_filter(where).mask({"n": column_from_values([1, None, 3], "n")})
    except InputError as error:
        told = str(error)
        mask = None
    assert told.startswith("where: ") and told.isprintable() if mask is None else mask.shape == (3,)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["a", 1], "one kind"),
        ([True, 1], "one kind"),
        ([float("nan")], "finite"),
        ([2**63], "below 2"),
        ([["a"]], "found list"),
        (["x" * 10_001], "at most"),
    ],
)
def test_a_column_of_anything_else_is_refused(values: list, told: str) -> None:
    with pytest.raises(InputError, match=told):
        column_from_values(values, "c")
