"""Tables of metrics for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table


def headline_metrics(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    """The published metrics and the selection score among all that evaluation logged, without the prefix."""
    kept = {name.removeprefix(f"{prefix}_"): value for name, value in metrics.items()}
    return {name: value for name, value in kept.items() if name.startswith(("MR-", "HL-")) or name == "score"}


def metrics_table(metrics: Mapping[str, float], title: str) -> Table:
    """A row for each metric."""
    table = Table("metric", "value", title=title)
    table.columns[1].justify = "right"
    for name, value in metrics.items():
        table.add_row(name, f"{value:g}")
    return table


def domain_table(by_domain: Mapping[str, Mapping[str, float]], title: str) -> Table:
    """A row for each domain, and their mean."""
    names = list(next(iter(by_domain.values())))
    table = Table("domain", *names, title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for domain, metrics in by_domain.items():
        table.add_row(domain, *(f"{metrics[name]:.5g}" for name in names))
    means = [sum(metrics[name] for metrics in by_domain.values()) / len(by_domain) for name in names]
    table.add_section()
    table.add_row("mean", *(f"{mean:.5g}" for mean in means))
    return table
