"""The root of every error that Wukong raises on purpose.

Each says what was wrong; its hint says what to do about it. The cause is chained as Python does.
"""

from __future__ import annotations


class WukongError(Exception):
    """Something that the reader can do something about.

    Parameters
    ----------
    message
        What was wrong, naming the field, file or task.
    hint
        What to do about it; shown after the message.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type[WukongError], tuple[str, str]]:
        return type(self), (self.message, self.hint)
