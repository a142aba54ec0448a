#!/usr/bin/env python3
"""Prints our figures beside those of the peers, measured in the same interleaved run, and writes them to .build/bench.json.

A figure is a row: name, ours, unit, peer, its value, ratio, budget, met. Budgets are in Benchmarks/budgets.json.
"""

import argparse
import importlib.util
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PARTS = ("proxy", "apiserver", "cluster", "store")


def load(part):
    path = os.path.join(HERE, part, "bench.py")
    spec = importlib.util.spec_from_file_location(f"bench_{part}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judged(row, budgets):
    """Adds ratio, budget and met. A budget is a limit on the ratio to the peer or, without a peer, on the value.

    Where more is better it is written {"at_least": limit}.
    """
    if row.get("peer_value"):
        row["ratio"] = round(row["ours"] / row["peer_value"], 3)
    budget = budgets.get(row["name"] + (f" / {row['peer']}" if row.get("peer") else ""))
    if isinstance(budget, dict):
        row["budget"] = f">= {budget['at_least']}"
        row["met"] = row["ours"] >= budget["at_least"]
    elif budget is not None:
        row["budget"] = budget
        row["met"] = (row.get("ratio") if row.get("peer") else row["ours"]) <= budget
    return row


def text(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", default=os.path.join(ROOT, ".build/release"))
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", default="", help="measure only rows whose names begin so; with --only")
    options = parser.parse_args()
    with open(os.path.join(HERE, "budgets.json")) as file:
        budgets = json.load(file)
    rows = []
    for part in PARTS:
        if options.only in (None, part):
            words = {"rows": options.rows} if options.rows else {}
            rows += load(part).measure(os.path.abspath(options.programs), options.rounds, **words)
    rows = [judged(row, budgets) for row in rows]
    columns = ("name", "ours", "unit", "peer", "peer_value", "ratio", "budget", "met")
    table = [[text(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(columns, *table)]
    for line in [columns, *table]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    with open(os.path.join(ROOT, ".build/bench.json"), "w") as file:
        json.dump(rows, file, indent=1)
    sys.exit(0)


if __name__ == "__main__":
    main()
