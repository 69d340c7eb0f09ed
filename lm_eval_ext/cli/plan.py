"""`lm-eval-ext plan`: how much a verdict needs, and what a budget can tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, ClassVar

import typer

from lm_eval_ext.analysis import Settings
from lm_eval_ext.cli.analyze import EndsWithExitCodes, console
from lm_eval_ext.errors import UserError, unknown_name
from lm_eval_ext.media import for_json

__all__ = ["PlanCommand", "plan"]

_DEFAULT = Settings()
_ITEMS, _TEXTS = 48.0, 1


class PlanCommand(EndsWithExitCodes):
    """Its help ends with the exit codes."""

    exit_codes: ClassVar[dict[str, str]] = {
        "0": "The plan is printed.",
        "2": "There is none; the last line says why.",
    }


def plan(
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Report folder, or runs as analyze takes them: answers move as they did there."),
    ] = None,
    run: Annotated[str | None, typer.Option(help="Label of the run to take from --from, if it has several.")] = None,
    churn: Annotated[
        str, typer.Option(help="Without --from, how much answers move: mild, moderate or strong, from our results.")
    ] = "moderate",
    margin: Annotated[float, typer.Option(help=Settings.help("margin"))] = _DEFAULT.margin,
    shift: Annotated[
        float | None, typer.Option(help="True change that CHANGED is planned for; twice the margin if not given.")
    ] = None,
    power: Annotated[float, typer.Option(help="Share of evaluations in which the verdict is to come.")] = 0.8,
    level: Annotated[float, typer.Option(help=Settings.help("level"))] = _DEFAULT.level,
    reach: Annotated[float, typer.Option(help=Settings.help("reach"))] = _DEFAULT.reach,
    items_per_template: Annotated[
        float | None, typer.Option(help="Items of a template in one condition; 48, or those of --from.")
    ] = None,
    texts: Annotated[int | None, typer.Option(help="Texts drawn for an item; 1, or those of --from.")] = None,
    templates: Annotated[int | None, typer.Option(help="Say what so many templates can tell.")] = None,
    budget: Annotated[int | None, typer.Option(help="Say what so many items can tell.")] = None,
    samples: Annotated[
        bool,
        typer.Option("--samples", help="Print what lm_eval --samples takes for the first --templates of --from."),
    ] = False,
    seed: Annotated[int, typer.Option(help=Settings.help("seed"))] = _DEFAULT.seed,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Say how many templates, items, texts and categories a verdict needs, before they are paid for."""
    from rich.console import Console

    from lm_eval_ext.analysis import publish

    Settings(level=level, margin=margin, reach=reach, seed=seed)
    shift = min(2 * margin, reach) if shift is None else shift
    _check(shift, power, reach, items_per_template, texts, templates, budget)
    if samples:
        if source is None or templates is None:
            raise UserError("--samples needs --from REPORT and --templates N")
        with _report(source) as report:
            most = None if items_per_template is None else int(items_per_template)
            typer.echo(for_json(publish.samples_of(report, templates, seed, items_of=most, source=str(source))))
        return
    if source is None:
        if run is not None:
            raise UserError("--run is a run of --from; name a report there")
        if churn not in publish.CHURN:
            raise unknown_name("churn (--churn)", churn, list(publish.CHURN))
        past = publish.usual(churn, items=items_per_template or _ITEMS, texts=texts or _TEXTS)
    else:
        with _report(source) as report:
            past = publish.past_of(report, run, str(source))
    items, n_texts = items_per_template or past.items, texts or past.texts
    if budget is not None:
        templates = int(budget // items)
        if templates < 1:
            raise UserError(f"--budget: expected at least the {items:g} items of one template, got {budget}")
    with Console(stderr=True).status("Simulating evaluations"):
        made = publish.make_plan(
            past,
            publish.Aim(
                margin=margin, shift=shift, level=level, reach=reach, power=power, readings=2 if past.scored else 1
            ),
            items=items,
            texts=n_texts,
            templates=templates,
            seed=seed,
        )
    if as_json:
        typer.echo(for_json(made.as_dict(), indent=2))
    else:
        publish.print_plan(made, console())


def _check(
    shift: float,
    power: float,
    reach: float,
    items: float | None,
    texts: int | None,
    templates: int | None,
    budget: int | None,
) -> None:
    """Refuse what can't be planned for; the message names the option."""
    if not 0 < shift <= reach:
        raise UserError(f"--shift: expected a change above 0 and at most the reach ({reach:g}), got {shift}")
    if not 0.5 <= power < 1:
        raise UserError(f"--power: expected a share from 0.5 to below 1, such as 0.8, got {power}")
    if items is not None and not 1 <= items <= 100_000:
        raise UserError(f"--items-per-template: expected 1 to 100,000, got {items:g}")
    if texts is not None and not 1 <= texts <= 1000:
        raise UserError(f"--texts: expected 1 to 1,000, got {texts}")
    if templates is not None and budget is not None:
        raise UserError("--templates and --budget both say how much there will be; give one")
    if templates is not None and not 1 <= templates <= 2000:
        raise UserError(f"--templates: expected 1 to 2,000, got {templates}")
    if budget is not None and budget < 1:
        raise UserError(f"--budget: expected a number of items, got {budget}")


@contextmanager
def _report(source: Path) -> Iterator[Path]:
    """The report that is given, or one made for the while from the runs that are."""
    if (source / "report.json").is_file() or not source.exists():
        yield source
        return
    from lm_eval_ext.analysis import analyze

    with TemporaryDirectory(prefix="lm-eval-ext-plan-") as folder:
        report = Path(folder) / "report"
        analyze([source], report)
        yield report
