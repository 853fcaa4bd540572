"""Run directories turned into one self-contained page, Markdown, JSON, and a table for the terminal."""

from primum.report.collect import collect
from primum.report.table import summary_table
from primum.report.write import write_report

__all__ = ["collect", "summary_table", "write_report"]
