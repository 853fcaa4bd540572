"""`primum gate`: may this model be released, by the limits set beforehand?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from primum.commands.options import Debug, Json, wide_console
from primum.types import BadInput

STYLES = {"passed": "green", "failed": "red", "undecided": "yellow"}


def gate(
    evaluation: Annotated[Path | None, typer.Argument(metavar="EVALUATION", help="A folder of `primum evaluate`.")] = None,
    rules: Annotated[Path | None, typer.Option(help="The limits, a YAML file such as recipes/gate.yaml.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="Another evaluation, which rises and falls are measured from.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the evidence there as JSON.")] = None,
    verify: Annotated[Path | None, typer.Option(help="Check this evidence, and the files named beside it, instead.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Hold an evaluation against limits. Exit code 0: it passed, 2: it did not, 3: it could not be asked, or was altered."""
    from primum.gate import gate as judge
    from primum.gate import load_rules, write_evidence
    from primum.gate import verify as check

    if verify is not None:
        if output is not None:
            raise BadInput("--verify writes nothing", "--output", "leave it out")
        told = check(verify, evaluation, baseline, rules)
    else:
        if evaluation is None or rules is None:
            what = "no evaluation" if evaluation is None else "no rules"
            raise BadInput(f"{what} to judge by", "command line", "primum gate EVALUATION --rules FILE, or --verify EVIDENCE")
        config, sha = load_rules(rules)
        told = judge(config, (str(rules), sha), evaluation, baseline)
        if output is not None:
            write_evidence(output, told)
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        _show(told, f"verified: {verify}" if verify else f"evidence: {output}" if output else "")
    if not told["passed"]:
        raise typer.Exit(2)


def _show(told: dict[str, Any], last: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    out = wide_console()
    table = Table("rule", "limit", "value \\[interval]", "n", "prompts", "verdict")
    for row in told["rules"]:
        counts = str(row["n"]), str(row["prompts"])
        table.add_row(escape(row["rule"]), row["asks"], escape(_value(row)), *counts, _styled(row["verdict"]))
    for pin in told["require"]:
        table.add_row(f"require: {pin['what']}", pin["wanted"][:16], pin["found"][:40], "", "", _styled(pin["verdict"]))
    out.print(table)
    for row in told["rules"]:
        if row["why"]:
            line = f"{row['verdict']} {row['rule']}: {'; '.join(row['why'])}"
            out.print(line, highlight=False, markup=False, soft_wrap=True)
    for note in told["notes"]:
        out.print(note, highlight=False, markup=False, soft_wrap=True)
    verdicts = [row["verdict"] for row in (*told["rules"], *told["require"])]
    tally = ", ".join(f"{n} {name}" for name in STYLES if (n := verdicts.count(name)))
    line = f"{'PASSED' if told['passed'] else 'DID NOT PASS'}: {tally} of {len(verdicts)}"
    out.print(f"{told['evaluation']['model']}  {line}", style="bold", highlight=False, markup=False, soft_wrap=True)
    if last:
        out.print(last, highlight=False, markup=False, soft_wrap=True)


def _value(row: dict[str, Any]) -> str:
    """A number with its interval, of a difference with its sign."""
    if row["mean"] is None:
        return "–"
    form = "+.3f" if row["confidence"] == 0.9 else ".3f"
    ends = "no interval" if row["low"] is None else f"[{row['low']:{form}}, {row['high']:{form}}]"
    return f"{row['mean']:{form}} {ends}{' (90 %)' if row['confidence'] == 0.9 else ''}"


def _styled(verdict: str) -> str:
    return f"[{STYLES[verdict]}]{verdict}[/]"
