"""From runs to a report: dataclasses, then figures, then HTML, Markdown and JSON."""

from serlab.report.render import build, build_foreign, build_overview
from serlab.report.summary import summarise

__all__ = ["build", "build_foreign", "build_overview", "summarise"]
