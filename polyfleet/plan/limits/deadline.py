"""Batch work is done in the windows it may run in."""

from __future__ import annotations

from polyfleet.plan.limits.share import batch_scale
from polyfleet.plan.sheet import Sheet


def limit_deadline(sheet: Sheet) -> None:
    """Batch requests done over the block's windows >= the work given to the block, by workload (requests a month).

    A batch column counts in units of the even rate, so that the row is well scaled.
    """
    hours = sheet.problem.hours[list(sheet.block.windows)]
    for w, requests in sheet.block.work.items():
        columns = sheet.columns.batch[w]
        may = columns >= 0
        unit = batch_scale(sheet, w) * 3600.0
        if requests > 1e-9 * sheet.stacks[w].need.requests_per_month:
            sheet.row(f"deadline of {sheet.stacks[w].need.name}", columns[may], hours[may] * unit / requests, lower=1.0)
