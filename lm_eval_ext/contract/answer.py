"""The answer record that every sample of our tasks carries: which option, with what probability, how surely."""

from __future__ import annotations

from typing import Literal, TypedDict

__all__ = ["REASONS", "Answer", "Protocol", "Reason", "SampledText"]

Protocol = Literal["letters", "text", "cyclic", "sampled"]

Reason = Literal[
    "no_number", "above_one", "no_probability", "all_equal", "certain_text", "texts_only", "bounded", "undecided"
]

REASONS: dict[Reason, str] = {
    "no_number": "a score is not a number",
    "above_one": "the options' probabilities add up to more than 1, as from a server that does not score its prompt",
    "no_probability": "no option has a probability above 0",
    "all_equal": "all options have the same score, so nothing tells which is chosen",
    "certain_text": "a text of several tokens has probability 1, as from a server that does not score its prompt",
    "texts_only": "the model was asked for texts alone; compressed_hf gives the letters' probabilities beside them",
    "bounded": "the server lists the likeliest tokens only and a letter was not among them; the choice is certain all "
    "the same",
    "undecided": "the server lists the likeliest tokens only, and which letter is the likeliest does not follow from "
    "them",
}
"""Why an item has no probabilities, for messages."""


class SampledText(TypedDict):
    """One sampled text, and the letters that are read in it."""

    seed: int | None
    """None where the model took none."""
    text: str
    status: Literal["answered", "unparsed"]
    """By the strict parser, as `choice` and `role`."""
    choice: int | None
    role: str | None
    study_choice: int | None
    """By the studies' parser, as `study_role`."""
    study_role: str | None


class Answer(TypedDict):
    """One model's answer to one item, as logged with every sample."""

    protocol: Protocol
    status: Literal["answered", "unparsed", "unscored"]
    choice: int | None
    """Index of the chosen option in the item's order."""
    role: str | None
    """The chosen option's role."""
    probs: list[float] | None
    """Probability of each option, in the item's order; they add up to 1."""
    letter_mass: float | None
    """Probability that the answer is one of the letters at all, where letters are scored."""
    drawn_letter_mass: float | None
    """The same at the temperature of a sampled protocol: of the first token drawn."""
    entropy: float | None
    """Entropy of `probs` in bits: 0 (sure) to log2 of the number of options."""
    margin: float | None
    """Probability of the choice minus that of the runner-up."""
    texts: list[SampledText] | None
    """One entry a seed, for sampled protocols only."""
    spellings: dict[str, float] | None
    """Where letters are scored: the share of the letter mass by spelling, named by the first letter's (" A", "A")."""
    bounds: list[list[float]] | None
    """Least and most that each option's probability can be, where they are not known and the choice is; else None."""
    reason: Reason | None
    """Why there are no probabilities; None where there are."""
