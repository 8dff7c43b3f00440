"""The round report: one HTML page about a campaign that needs no network and no server.

Charts are drawn as SVG when the page is written, tables stand below each, and a bounded number of
samples is embedded as data for the list that filters and compares them. Everything in it that a
model, a tool or a person wrote is text, never markup.
"""

from looptool.report.brief import draw_accuracy, render_brief
from looptool.report.page import render_report
from looptool.report.samples import ROWS

__all__ = ["ROWS", "draw_accuracy", "render_brief", "render_report"]
