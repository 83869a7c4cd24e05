"""From runs to a report: plain-data summary, then figures, then HTML, Markdown and JSON."""
