from .duration import describe_plan
from .layout import table_content, to_markdown
from .plan import Plan, load_data, make_plan
from .reproduce import reproduce
from .runs import PlannedRun
from .tables import PaperRow, PaperTable, list_tables, load_table

__all__ = [
    "PaperRow",
    "PaperTable",
    "Plan",
    "PlannedRun",
    "describe_plan",
    "list_tables",
    "load_data",
    "load_table",
    "make_plan",
    "reproduce",
    "table_content",
    "to_markdown",
]
