"""Validity kept as a range is the validity of every byte."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flexc.backends.stream.validity import WHOLE_BYTE, Validity

SIZE = 12
COPIES = 3
Span = tuple[int, int]
spans = st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)).map(
    lambda s: (s[0], min(SIZE, s[0] + s[1]))
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), spans),
        st.tuples(st.just("part"), spans),
        st.tuples(st.just("clear"), st.just((0, 0))),
        st.tuples(st.just("look"), st.just((0, 0))),
    ),
    max_size=8,
)


@given(steps, st.booleans(), spans)
def test_like_an_array_of_bytes(taken: list[tuple[str, Span]], shared: bool, asked: Span) -> None:
    shape = (SIZE,) if shared else (1, SIZE)
    given_pairs = np.zeros(SIZE, np.uint8)
    valid = Validity(shape, given_pairs if shared else None)
    expected = np.zeros(shape, np.uint8)
    for what, (first, end) in taken:
        if what == "add":
            valid.add(first, end)
            expected[..., first:end] = WHOLE_BYTE
        elif what == "part":
            valid.of_bytes()[..., first:end:2] |= 3
            expected[..., first:end:2] |= 3
        elif what == "clear":
            valid.clear(shape)
            expected[...] = 0
        else:
            assert np.array_equal(valid.of_bytes(), expected)
        whole = bool((expected[..., slice(*asked)] == WHOLE_BYTE).all())
        assert whole or not valid.holds(*asked)
        if shared:
            assert np.array_equal(given_pairs, expected)
    assert np.array_equal(valid.of_bytes(), expected)


@given(spans, spans, st.booleans())
def test_more_copies_and_other_grids(added: Span, part: Span, in_array: bool) -> None:
    valid = Validity((1, SIZE))
    expected = np.zeros((1, SIZE), np.uint8)
    valid.add(*added)
    expected[:, slice(*added)] = WHOLE_BYTE
    if in_array:
        valid.of_bytes()[:, slice(*part)] |= 3
        expected[:, slice(*part)] |= 3
    valid.spread((COPIES, SIZE))
    valid.flatten((COPIES, SIZE), COPIES + 1)
    assert np.array_equal(valid.of_bytes()[:COPIES], np.repeat(expected, COPIES, axis=0))
    assert not valid.of_bytes()[COPIES:].any()
    assert not valid.holds(*added)


def test_memory_that_others_filled_is_looked_at() -> None:
    pairs = np.full(SIZE, WHOLE_BYTE, np.uint8)
    assert Validity((SIZE,), pairs).holds(2, SIZE)
    pairs[3] = 7
    assert not Validity((SIZE,), pairs).holds(4, SIZE)
