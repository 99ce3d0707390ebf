# SPDX-License-Identifier: Apache-2.0
"""Plots as inline SVG, by matplotlib. They are narrow, so that their text stays readable where a phone
shrinks them to its width; every axis has a title with its unit."""
import io
import re

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot  # noqa: E402 (the backend is chosen first)
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator  # noqa: E402

WIDTH = 5.2  # inches
COLOURS = ["#0b6e4f", "#c1440e", "#444444", "#1f4e9c", "#8a5a00", "#7b2d8b", "#00798c", "#999999"]
MARKERS = "osD^vP*X"

matplotlib.rcParams.update({
    "svg.fonttype": "path", "svg.hashsalt": "fastvmm-bench", "font.size": 10, "axes.grid": True,
    "grid.color": "#dddddd", "axes.axisbelow": True, "axes.spines.top": False,
    "axes.spines.right": False, "figure.constrained_layout.use": True,
})


def _finish(figure, number, title):
    """The SVG element alone, with names that are unique on the page and a text for those who do not
    see it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\bid="', f'id="p{number}-', text)
    text = re.sub(r'(href="|url\()#', rf"\g<1>#p{number}-", text)
    # The size comes from the style sheet; the view box keeps the shape.
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return re.sub(r"<svg", f'<svg role="img" aria-label="{label}"', text, count=1)


def _legend(axes, entries, columns=1):
    """Above the plot: beside it there is no room on a phone."""
    if entries:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), borderaxespad=0, ncols=columns,
                    frameon=False, fontsize=9)


def colour(index):
    return COLOURS[index % len(COLOURS)]


def curves(number, title, x_title, y_title, series, x_log=False, y_log=False, x_show=None, y_show=None):
    """Lines with 95 % intervals. series: [(label, [(x, y, low, high)])]."""
    figure, axes = pyplot.subplots(figsize=(WIDTH, 3.6 + 0.18 * len(series)))
    for index, (label, points) in enumerate(series):
        points = sorted(points)
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        axes.plot(xs, ys, color=colour(index), marker=MARKERS[index % len(MARKERS)], markersize=5,
                  label=label)
        if all(p[2] is not None for p in points):
            axes.errorbar(xs, ys, yerr=[[max(0, p[1] - p[2]) for p in points],
                                        [max(0, p[3] - p[1]) for p in points]],
                          fmt="none", ecolor=colour(index), capsize=2, linewidth=1)
    _scale(axes.xaxis, axes.set_xscale, x_log, x_show, sorted({p[0] for _, ps in series for p in ps}))
    _scale(axes.yaxis, axes.set_yscale, y_log, y_show, None)
    if not y_log:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(x_title)
    axes.set_ylabel(y_title)
    _legend(axes, series)
    return _finish(figure, number, title)


def _scale(axis, set_scale, log, show, ticks):
    """Logarithmic axes have their ticks at the points where these are few, else at 1, 2, 5, 10, ..."""
    if log:
        set_scale("log")
        if ticks and len(ticks) <= 10:
            axis.set_ticks(ticks)
        else:
            axis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=12))
        axis.set_minor_locator(NullLocator())
    if show:
        axis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))


def ratios(number, title, x_title, rows):
    """One line a comparison: its ratio and interval around the line of equality.
    rows: [(label, ratio, low, high, colour index)]."""
    figure, axes = pyplot.subplots(figsize=(WIDTH, 1.0 + 0.3 * len(rows)))
    for place, (_, ratio, low, high, index) in enumerate(rows):
        if low is not None:
            axes.plot([low, high], [place, place], color=colour(index), linewidth=2)
        axes.plot([ratio], [place], marker="o", color=colour(index), markersize=6)
        axes.annotate(f"{ratio:.2f}x", (ratio if high is None else high, place), xytext=(7, 0),
                      textcoords="offset points", va="center", fontsize=8)
    axes.axvline(1, color="#000000", linewidth=1)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=8.5)
    axes.set_ylim(len(rows) - 0.4, -0.7)
    ends = [value for row in rows for value in row[1:4] if value is not None] + [1]
    if max(ends) / min(ends) > 4:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(LogLocator(base=2, numticks=5))  # more would run into one another
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}x"))
    axes.margins(x=0.16)
    axes.set_xlabel(x_title)
    return _finish(figure, number, title)


def stacked(number, title, x_title, rows, parts, show):
    """Horizontal bars: rows [(label, [value of each part])]."""
    figure, axes = pyplot.subplots(figsize=(WIDTH, 1.3 + 0.36 * len(rows) + 0.18 * len(parts)))
    lefts = [0.0] * len(rows)
    for index, part in enumerate(parts):
        widths = [values[index] for _, values in rows]
        axes.barh(range(len(rows)), widths, left=lefts, height=0.65, color=colour(index), label=part)
        lefts = [left + width for left, width in zip(lefts, widths)]
    for place, total in enumerate(lefts):
        axes.annotate(show(total), (total, place), xytext=(3, 0), textcoords="offset points",
                      va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [label for label, _ in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, max(lefts) * 1.18 or 1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(x_title)
    _legend(axes, parts, columns=2)
    return _finish(figure, number, title)
