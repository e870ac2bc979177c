"""What a library consists of, for people: text in the terminal, a page for the browser."""

from prunus.report.report import REPORT_NAME, Report
from prunus.report.rows import Row

__all__ = ["REPORT_NAME", "Report", "Row"]
