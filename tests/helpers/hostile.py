"""Runs whose every name is out to do something to whatever shows it."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.runlogs import (
    DENSE,
    Task,
    bbq_item,
    bbq_line,
    choice_line,
    drawn_line,
    evidence,
    text_line,
    write_run,
)

# A formula, a terminal's colour and title, a tag, a link, a cell, a code span, a formula of TeX, a turned direction,
# a character that hides, an address and the end of a line.
NASTY = (
    "=cmd|'/C calc'!A0 \x1b[31mred\x1b]0;title\x07 <script>alert(1)</script> <img src=x onerror=alert(1)> "
    "[x](javascript:alert(1)) ![i](http://evil.example/i.png) https://evil.example www.evil.example me@evil.example "
    "`code` *b* __u__ ~~s~~ $x$ | cell \\| &lt; [bold red]rich[/] :boom: \u202etxt.exe\u202c zero\u200bwidth \x9b2J\r\n"
    "# head\n\n---\n+1"
)
# What a file may be called: all but the slash, and short.
FILE = "=cmd \x1b[31m <b>[x](y)` | @me \u202e*"


def write_hostile(folder: Path) -> None:
    """A dense run and compressed ones: compared, refused and without a baseline."""
    name = f"{NASTY} {{}}"

    def tasks(choice: int, prompt: str = "Q") -> dict[str, Task]:
        items, people = [], NASTY.replace("|", "")
        for number in range(8):
            item = bbq_item(number, category=NASTY)
            item |= {"subcategory": NASTY, "groups": [[people], ["young"], []], "stereotyped_groups": [people]}
            item |= {"item_id": f"{NASTY}{number}", "cluster": f"{NASTY}{number // 2}", "benchmark": NASTY}
            items.append(item)
        lines = [bbq_line(i, (choice * i) % 3, item=item) for i, item in enumerate(items)]
        drawn = [drawn_line(i, [choice % 3, 0, (choice + i) % 3], item=item) for i, item in enumerate(items)]
        for line in drawn:
            for text in line["answer"]["draws"]:
                text["text"] = NASTY
        plain = [choice_line(i, (choice * i) % 3, prompt=prompt, filter=NASTY) for i in range(6)]
        texts = [text_line(i, f"{NASTY} {choice * i}", filter=name.format(1)) for i in range(6)]
        return {
            FILE: Task(lines),
            f"{FILE} drawn": Task(drawn, "generate_until"),
            f"{FILE} plain": Task(plain, metrics={f"acc,{NASTY}": 1.0 if choice == 0 else 1 / 3}),
            f"{FILE} text": Task(texts, "generate_until"),
            f"{NASTY} rolled": Task([], "loglikelihood_rolling", {"word_perplexity,none": 20.0 + choice}, log=False),
        }

    base = {"base": {"pretrained": f"org/{NASTY}", "revision": NASTY}}
    write_run(folder, 1, tasks(0), evidence("dense", **DENSE | base))
    recipe = {"recipe": {"name": NASTY, "version": 1}, "method": NASTY, "calibration": {"source": NASTY}}
    write_run(folder / FILE, 2, tasks(1), evidence(NASTY, **recipe | base), stem=f"results {FILE}")
    write_run(folder, 3, tasks(2, prompt=NASTY), evidence(name.format(3), **recipe | base), model_name=NASTY)
    write_run(folder, 4, tasks(2), evidence(name.format(4), base={"pretrained": f"{NASTY} other", "revision": None}))
