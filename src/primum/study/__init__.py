"""A study: the tasks of an experiment and who needs what, run once each wherever there is room."""

from primum.study.graph import Task, order
from primum.study.schedule import Failure, Outcome, run_tasks

__all__ = ["Failure", "Outcome", "Task", "order", "run_tasks"]
