"""Collections whose next version is cheap: each decision returns a new state, and a fleet may have 10,000 executors.

Both are immutable and deterministic: what they hold and the order of iteration follow from the operations alone, not
from hashes of the process. Plain dicts and frozensets would be copied whole at every event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_GONE: Final[Any] = object()


class Table(Mapping[K, V]):
    """An immutable mapping; a change costs about the square root of its size.

    A large part that versions share, and a small part with what has changed since, which is copied at each change and
    merged into the large part once it has grown to its square root. Iterates in the order of insertion (an entry that
    is removed and added again may keep its place).
    """

    __slots__ = ("_length", "_recent", "_shared")

    def __init__(self, entries: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        self._shared: dict[K, V] = dict(entries)
        self._recent: dict[K, V] = {}
        self._length = len(self._shared)

    def __getitem__(self, key: K) -> V:
        if key in self._recent:
            value = self._recent[key]
            if value is _GONE:
                raise KeyError(key)
            return value
        return self._shared[key]

    def __contains__(self, key: object) -> bool:
        if key in self._recent:
            return self._recent[key] is not _GONE
        return key in self._shared

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[K]:
        recent = self._recent
        for key in self._shared:
            if recent.get(key) is not _GONE:
                yield key
        for key, value in recent.items():
            if value is not _GONE and key not in self._shared:
                yield key

    def __repr__(self) -> str:
        return f"Table({dict(self.items())!r})"

    def put(self, key: K, value: V) -> Table[K, V]:
        """Return a table that also has this entry."""
        return self._changed(key, value, self._length + (key not in self))

    def without(self, key: K) -> Table[K, V]:
        """Return a table that lacks this entry; an unknown key changes nothing."""
        return self._changed(key, _GONE, self._length - 1) if key in self else self

    def _changed(self, key: K, value: V, length: int) -> Table[K, V]:
        new: Table[K, V] = Table.__new__(Table)
        new._shared = self._shared
        new._recent = {**self._recent, key: value}
        new._length = length
        if len(new._recent) ** 2 > len(new._shared) + 16:
            new._shared = {k: v for k, v in {**new._shared, **new._recent}.items() if v is not _GONE}
            new._recent = {}
        return new


class Numbers:
    """An immutable set of small whole numbers from 0, kept as the bits of one integer."""

    __slots__ = ("_bits",)

    def __init__(self, numbers: Iterable[int] = (), *, bits: int = 0) -> None:
        for number in numbers:
            bits |= 1 << number
        self._bits = bits

    def __contains__(self, number: int) -> bool:
        return bool(self._bits >> number & 1)

    def __len__(self) -> int:
        return self._bits.bit_count()

    def __iter__(self) -> Iterator[int]:
        return (number for first, last in self.runs() for number in range(first, last + 1))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Numbers) and self._bits == other._bits

    def __hash__(self) -> int:
        return hash(self._bits)

    def __repr__(self) -> str:
        return f"Numbers({list(self)})"

    def __or__(self, other: Numbers) -> Numbers:
        return Numbers(bits=self._bits | other._bits)

    def put(self, number: int) -> Numbers:
        """Return a set that also has this number."""
        return Numbers(bits=self._bits | 1 << number)

    def without(self, number: int) -> Numbers:
        """Return a set that lacks this number."""
        return Numbers(bits=self._bits & ~(1 << number))

    def lowest(self) -> int | None:
        """Return the lowest number in the set, None when it is empty."""
        return (self._bits & -self._bits).bit_length() - 1 if self._bits else None

    def lowest_missing(self) -> int:
        """Return the lowest number that is not in the set."""
        free = ~self._bits
        return (free & -free).bit_length() - 1

    def runs(self) -> Iterator[tuple[int, int]]:
        """First and last number of each unbroken run, lowest first: the short way to write the set down."""
        bits, start = self._bits, 0
        while bits:
            skipped = (bits & -bits).bit_length() - 1
            bits >>= skipped
            length = Numbers(bits=bits).lowest_missing()
            yield start + skipped, start + skipped + length - 1
            bits >>= length
            start += skipped + length

    @classmethod
    def of_runs(cls, runs: Iterable[tuple[int, int]]) -> Numbers:
        """Return the set with these runs: the reverse of `runs`."""
        bits = 0
        for first, last in runs:
            bits |= (1 << last + 1) - (1 << first)
        return cls(bits=bits)
