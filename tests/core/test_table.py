"""The collections of states: they are what plain ones are, but for their price."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_spotmix.core.table import Numbers, Table

changes = st.lists(st.tuples(st.sampled_from(["put", "without"]), st.integers(0, 40)), max_size=120)


@given(changes)
def test_every_version_of_a_table_is_the_dict_it_was(history: list[tuple[str, int]]) -> None:
    plain: dict[int, str] = {}
    table: Table[int, str] = Table()
    versions = [(table, dict(plain))]
    for step, (change, key) in enumerate(history):
        if change == "put":
            table, plain[key] = table.put(key, f"{key}@{step}"), f"{key}@{step}"
        else:
            table = table.without(key)
            plain.pop(key, None)
        versions.append((table, dict(plain)))
    for version, expected in versions:
        assert (dict(version), len(version)) == (expected, len(expected))
        assert [key in version for key in range(41)] == [key in expected for key in range(41)]
        assert version == Table(expected)


def test_a_table_iterates_in_the_order_of_insertion() -> None:
    table: Table[int, int] = Table()
    for key in [3, 1, 2, *range(10, 100)]:
        table = table.put(key, key)
    assert list(table.put(1, 0).without(3)) == [1, 2, *range(10, 100)]


def test_a_change_copies_about_a_square_root_of_the_table() -> None:
    small, large = (Table({n: n for n in range(size)}) for size in (100, 10_000))
    for n in range(1000):
        small, large = small.put(n % 100, n), large.put(n, n)
        assert len(small._recent) <= 11
        assert len(large._recent) <= 101


@given(st.sets(st.integers(0, 200)), st.integers(0, 210))
def test_numbers_are_a_set(plain: set[int], number: int) -> None:
    numbers = Numbers(plain)
    assert (list(numbers), len(numbers), number in numbers) == (sorted(plain), len(plain), number in plain)
    assert list(numbers.put(number)) == sorted(plain | {number})
    assert list(numbers.without(number)) == sorted(plain - {number})
    assert numbers.lowest() == min(plain, default=None)
    assert numbers.lowest_missing() == min(set(range(202)) - plain)
    assert numbers == Numbers.of_runs(numbers.runs())
    assert {numbers: 1}[Numbers(sorted(plain))] == 1


def test_numbers_are_written_down_as_runs() -> None:
    assert list(Numbers([1, 2, 3, 7, 9, 10]).runs()) == [(1, 3), (7, 7), (9, 10)]
