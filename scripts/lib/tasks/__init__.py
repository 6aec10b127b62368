"""One folder per task: everything about an instance besides its box, from labels to the C header.

A folder here is found automatically: its `__init__.py` registers one `Task` (lib.tasks.task).
"""

from importlib import import_module
from pkgutil import iter_modules

from lib.step.errors import UserError
from lib.tasks.task import Task

DEFAULT = "detect"  # for a file that names no task
_tasks: dict[str, Task] = {}


def register(task: Task) -> None:
    """Register a task under its name. Raises ValueError when another task has that name."""
    if task.name in _tasks:
        raise ValueError(f"two tasks are called '{task.name}'")
    _tasks[task.name] = task


def get(name: str) -> Task:
    """The task of that name. Raises UserError when there is none."""
    if name not in _tasks:
        raise UserError(f"there is no task '{name}'; the tasks are {', '.join(names())}")
    return _tasks[name]


def names() -> list[str]:
    """The names of all tasks, sorted."""
    return sorted(_tasks)


for _module in iter_modules(__path__):
    if _module.ispkg:
        import_module(f"{__name__}.{_module.name}")
