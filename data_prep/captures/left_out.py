"""What a preparation leaves out, counted by reason, and the share of faulty items it accepts."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from dhm.errors import BadInputError

MAX_FAULTY_SHARE = 0.5
"""Largest share of faulty items by default. One broken camera of three, or one frame of three
without joints, is left out; with more than half broken it is the data set that is wrong."""


class LeftOut:
    """Counts what is left out by reason, and keeps the first example of each fault.

    A rule leaves out what is not wanted, such as the other hand's sequences. A fault is an item
    that is wanted and cannot be used, such as a damaged picture: the rest is prepared without it,
    up to a share of all items (`require_share`).

    Args:
        rules: Reasons that are listed even where their count is 0.
        counts: Counts to start from, by reason.
        examples: The first example of each reason among them that is a fault.
    """

    def __init__(
        self,
        rules: Iterable[str] = (),
        counts: Mapping[str, int] | None = None,
        examples: Mapping[str, str] | None = None,
    ):
        self.counts: dict[str, int] = dict.fromkeys(rules, 0) | dict(counts or {})
        self.examples: dict[str, str] = dict(examples or {})

    def add(self, reason: str, count: int = 1) -> None:
        """Counts items that a rule leaves out."""
        self.counts[reason] = self.counts.get(reason, 0) + count

    def add_fault(self, reason: str, error: BadInputError) -> None:
        """Counts an item that cannot be used."""
        self.add(reason)
        self.examples.setdefault(reason, str(error))

    @property
    def num_faults(self) -> int:
        """Number of items that cannot be used."""
        return sum(self.counts[reason] for reason in self.examples)

    def describe(self) -> str:
        """Returns the counts above 0 on one line, each fault with its first example."""
        parts = []
        for reason, count in self.counts.items():
            if count:
                example = f", first: {self.examples[reason]}" if reason in self.examples else ""
                parts.append(f"{count} x {reason}{example}")
        return "; ".join(parts) or "nothing left out"

    def faults(self) -> list[str]:
        """Returns a line for each fault: its count and its first example."""
        return [
            f"left out: {self.counts[reason]} x {reason}, first: {example}"
            for reason, example in self.examples.items()
        ]

    def require_share(self, where: str | Path, total: int, share: float) -> None:
        """Refuses a data set too much of which cannot be used.

        Args:
            where: The data set.
            total: Number of its items, usable and faulty.
            share: Largest share of faulty items.

        Raises:
            BadInputError: More items are faulty; the message has their counts.
        """
        if self.num_faults > share * total:
            faulty = LeftOut(
                counts={reason: self.counts[reason] for reason in self.examples},
                examples=self.examples,
            )
            raise BadInputError(
                where,
                f"{self.num_faults} of {total} items that cannot be used ({faulty.describe()})",
                f"at most {share:.0%} of them (faulty_share)",
            )
