"""The benchmark's table: as text to read, and as metrics."""

import re

from hands.benchmark.measure import Row

HEADER = ("line", "what", "measured", "against", "reference", "ratio", "rounds", "goal", "on")


def markdown_table(rows: list[Row]) -> str:
    """A Markdown table, a row a comparison."""
    cells = [HEADER, tuple("---" for _ in HEADER)]
    cells += [
        (
            str(row.line),
            row.name,
            f"{number(row.measured)} {row.unit}",
            row.against,
            f"{number(row.reference)} {row.unit}",
            number(row.ratio),
            f"{number(row.low)} to {number(row.high)}",
            _goal(row),
            row.on,
        )
        for row in rows
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _goal(row: Row) -> str:
    if row.goal is None:
        return ""
    return f"{'<=' if row.lower_is_better else '>='} {number(row.goal)}: {'reached' if row.reached else 'missed'}"


def number(value: float) -> str:
    """Three digits, more only before the point: 0.954, 17.2, 1,234."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def metrics(rows: list[Row]) -> dict[str, float]:
    """Each row's ratio and measured value under an MLflow metric's name, e.g. bench/2/phase1-loop/ratio."""
    values = {}
    for row in rows:
        name = f"bench/{row.line}/{re.sub(r'[^a-z0-9_]+', '-', row.name.lower()).strip('-')}"
        values |= {f"{name}/ratio": row.ratio, f"{name}/measured": row.measured}
    return values


def columns(rows: list[Row]) -> dict[str, list]:
    """The rows as columns, for MLflow's table."""
    records = [row.to_json() for row in rows]
    return {name: [record[name] for record in records] for name in records[0]} if records else {}
