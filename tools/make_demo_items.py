"""Expand demo_templates.yaml into demo.jsonl, the packaged demonstration items in BBQ's structure.

`python tools/make_demo_items.py` rewrites the file; `--check` only compares, and exits 1 on a difference.
Nothing is drawn at random: every order below is a fixed function of the template's and the filler's number.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DATA = Path(__file__).resolve().parents[1] / "lm_eval_ext" / "datasets" / "bbq" / "data"
TEMPLATES = DATA / "demo_templates.yaml"
ITEMS = DATA / "demo.jsonl"

# Order of the options by filler, counted through the whole file. Unknown moves by one place each time, and an
# order and the one three further on differ only in the two persons.
ORDERS = (
    ("unknown", "stereotyped", "other"),
    ("other", "unknown", "stereotyped"),
    ("stereotyped", "other", "unknown"),
    ("unknown", "other", "stereotyped"),
    ("stereotyped", "unknown", "other"),
    ("other", "stereotyped", "unknown"),
)
POLARITIES = ("neg", "nonneg")
CONDITIONS = ("ambig", "disambig")


def capital(text: str) -> str:
    """Make the first letter upper case and leave the rest ("the Hindu tailor" keeps its H)."""
    return text[:1].upper() + text[1:]


def bare(person: str) -> str:
    """Take the indefinite article off a person ("an aunt" -> "aunt").

    Raises:
        ValueError: If there is no article.
    """
    article, _, name = person.partition(" ")
    if article not in ("a", "an") or not name:
        raise ValueError(f"person {person!r}: expected it to start with 'a ' or 'an '. Write the article.")
    return name


def slots_of(filler: dict[str, Any], stereotyped_first: bool, facts_agree: bool) -> dict[str, str]:
    """Collect what the sentences of a template may refer to, for one filler.

    Args:
        filler: `stereotyped` and `other`, each [person, group], and `slots`.
        stereotyped_first: Whether the context mentions the stereotyped person first.
        facts_agree: Whether the facts give the negative trait to the stereotyped person.
    """
    pair = [filler["stereotyped"][0], filler["other"][0]]
    one, two = pair if stereotyped_first else pair[::-1]
    bad, good = pair if facts_agree else pair[::-1]
    own = {"one": one, "two": two, "bad": f"the {bare(bad)}", "good": f"the {bare(good)}"}
    return {**filler["slots"], **own, **{capital(name): capital(text) for name, text in own.items()}}


def expand_filler(
    template: dict[str, Any],
    filler: dict[str, Any],
    unknown: str,
    order: tuple[str, ...],
    flags: dict[str, bool],
) -> Iterator[dict[str, Any]]:
    """Yield the four items of one filler, without example_id, question_index and category."""
    slots = slots_of(filler, **flags)
    shown = {name: f"The {bare(filler[name][0])}" for name in ("stereotyped", "other")} | {"unknown": unknown}
    info = {name: [bare(filler[name][0]), filler[name][1]] for name in ("stereotyped", "other")}
    info["unknown"] = [unknown, "unknown"]
    ambig = template["context"].format_map(slots)
    contexts = {"ambig": ambig, "disambig": f"{ambig} {template['facts'].format_map(slots)}"}
    for polarity in POLARITIES:
        # The negative question is about the person in the place of {bad}, the other one about {good}.
        named = "stereotyped" if (polarity == "neg") == flags["facts_agree"] else "other"
        for condition in CONDITIONS:
            yield {
                "question_polarity": polarity,
                "context_condition": condition,
                "answer_info": {f"ans{place}": info[name] for place, name in enumerate(order)},
                "additional_metadata": {
                    "subcategory": "None",
                    "stereotyped_groups": template["stereotyped_groups"],
                    "version": "a",
                    "source": template["source"],
                },
                "context": contexts[condition],
                "question": template[polarity].format_map(slots),
                **{f"ans{place}": shown[name] for place, name in enumerate(order)},
                "label": order.index("unknown" if condition == "ambig" else named),
            }


def expand(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all items of a template file, category by category, in BBQ's field order.

    Raises:
        KeyError: If a sentence names a slot that its filler does not give.
        ValueError: If a template does not have exactly two fillers, which the balance rests on.
    """
    wordings = spec["unknown_wordings"]
    template_number = 0
    for category, templates in spec["categories"].items():
        example_id = 0
        for index, template in enumerate(templates, start=1):
            if len(template["fillers"]) != 2:
                raise ValueError(f"{category} template {index}: {len(template['fillers'])} fillers, expected 2.")
            for number, filler in enumerate(template["fillers"]):
                # Different periods keep these two apart from each other and from the option order.
                flags = {
                    "stereotyped_first": (template_number // 2 + number) % 2 == 0,
                    "facts_agree": (template_number + number) % 2 == 0,
                }
                serial = 2 * template_number + number
                unknown, order = wordings[serial % len(wordings)], ORDERS[serial % len(ORDERS)]
                for item in expand_filler(template, filler, unknown, order, flags):
                    polarity, condition = item.pop("question_polarity"), item.pop("context_condition")
                    yield {
                        "example_id": example_id,
                        "question_index": str(index),
                        "question_polarity": polarity,
                        "context_condition": condition,
                        "category": category,
                        **item,
                    }
                    example_id += 1
            template_number += 1


def main(arguments: list[str] | None = None) -> int:
    """Write or check the item file; returns the exit status."""
    parser = argparse.ArgumentParser(description="Expand the demonstration templates into demo.jsonl.")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 if the file differs")
    parser.add_argument("--output", type=Path, default=ITEMS, help="item file (default: the packaged one)")
    options = parser.parse_args(arguments)
    spec = yaml.safe_load(TEMPLATES.read_text(encoding="utf-8"))
    text = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in expand(spec))
    if not options.check:
        options.output.write_text(text, encoding="utf-8", newline="\n")
        return 0
    if options.output.is_file() and options.output.read_text(encoding="utf-8") == text:
        return 0
    print(
        f"{options.output.name} is not what {TEMPLATES.name} expands to. Run: python tools/{Path(__file__).name}",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
