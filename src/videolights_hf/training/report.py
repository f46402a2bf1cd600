"""Metrics as tables, for the terminal and for logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

# Headline metrics and the score of TVSum and YouTube Highlights are fractions; papers print percent, as all others are.
_FRACTION = "HL-mAP"


def headline_metrics(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    """The published metrics and the selection score among everything that evaluation logged, without the prefix."""
    kept = {name.removeprefix(f"{prefix}_"): value for name, value in metrics.items()}
    return {
        name: value
        for name, value in kept.items()
        if name.removeprefix("nms_").startswith(("MR-", "HL-")) or name == "score"
    }


def mean_metrics(by_domain: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean over domains of every metric that all of them have."""
    rows = list(by_domain.values())
    names = [name for name in rows[0] if all(name in row for row in rows)] if rows else []
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}


def metrics_table(metrics: Mapping[str, float], title: str) -> Table:
    """A row for each headline metric, in percent."""
    table = Table("metric", "%", title=title)
    table.columns[1].justify = "right"
    for name, value in in_percent(metrics).items():
        table.add_row(name, f"{value:.2f}")
    return table


def domain_table(by_domain: Mapping[str, Mapping[str, float]], title: str) -> Table:
    """A row for each domain, in percent, and their mean."""
    means = mean_metrics(by_domain)
    table = Table("domain", *(f"{name} (%)" for name in means), title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for domain, metrics in by_domain.items():
        table.add_row(domain, *(f"{in_percent(metrics)[name]:.2f}" for name in means))
    table.add_section()
    table.add_row("mean", *(f"{value:.2f}" for value in in_percent(means).values()))
    return table


def training_line(epoch: float, step: int, logs: Mapping[str, Any]) -> str:
    """A training log in one line."""
    parts = [f"epoch {epoch:g}", f"step {step}", f"loss {logs['loss']:.4f}"]
    if "grad_norm" in logs:
        parts.append(f"gradient norm {logs['grad_norm']:.3g}")
    if "learning_rate" in logs:
        parts.append(f"learning rate {logs['learning_rate']:g}")
    return "  ".join(parts)


def evaluation_table(training: Mapping[str, float], evaluation: Mapping[str, float], prefix: str = "eval") -> str:
    """Loss terms of training and evaluation side by side, and the headline metrics below.

    Terms of the decoder layers before the last, `loss_span_0` and so on, are left out; `trainer_state.json` has them.
    """
    evaluated = {name.removeprefix(f"{prefix}_"): value for name, value in evaluation.items()}
    terms = [
        name
        for name in evaluated
        if name.startswith(("loss", "saliency_", "class_error")) and not name.rpartition("_")[2].isdigit()
    ]
    lines = [f"  {'term':<28}{'training':>12}{'evaluation':>12}"] if terms else []
    for name in terms:
        trained = f"{training[name]:.4f}" if name in training else ""
        lines.append(f"  {name:<28}{trained:>12}{evaluated[name]:>12.4f}")
    metrics = in_percent(headline_metrics(evaluation, prefix))
    lines += [f"  {'metric':<28}{'%':>12}"] if metrics else []
    return "\n".join([*lines, *(f"  {name:<28}{value:>12.2f}" for name, value in metrics.items())])


def in_percent(metrics: Mapping[str, float]) -> dict[str, float]:
    """Headline metrics in percent: those of TVSum and YouTube Highlights are fractions, all others are percent."""
    factor = 100 if _FRACTION in metrics else 1
    return {name: value * factor for name, value in metrics.items()}
