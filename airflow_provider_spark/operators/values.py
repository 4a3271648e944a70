"""Values as an operator gets them: from a DAG file, a rendered template, a mapped row of a CSV file.

``VideoRequest`` is strict about types. What arrives as text is put into the field's type
here; empty text and ``None`` in letters, which templates and CSV rows give for a missing
value, mean not set. Everything else goes through as it is and is judged by the request.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_provider_spark.api.errors import SparkDanceRequestError
from airflow_provider_spark.api.text import is_data_uri, show
from airflow_provider_spark.hooks.settings import read_folder

# Ten years: a slip of the keyboard beyond it would come out when the order is paid, as a time that overflows.
LONGEST_SECONDS = 10 * 366 * 86_400.0

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_BOOLEANS = {"true": True, "false": False}


def text(field: str, value: Any) -> str | None:
    """Return text, ``None`` where it is empty.

    :raises SparkDanceRequestError: the value isn't text.
    """
    if is_unset(value):
        return None
    if not isinstance(value, str):
        raise _refusal(field, value, "text")
    return value


def integer(field: str, value: Any) -> int | None:
    """Return a whole number.

    :raises SparkDanceRequestError: the value is neither a whole number nor the text of one.
    """
    if is_unset(value):
        return None
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value.strip())  # int() itself strips less than strip()
    if not isinstance(value, int) or isinstance(value, bool):
        raise _refusal(field, value, "a whole number")
    return value


def boolean(field: str, value: Any) -> bool | None:
    """Return true or false; text counts without regard to case.

    :raises SparkDanceRequestError: the value is neither a boolean nor the text of one.
    """
    if is_unset(value):
        return None
    if isinstance(value, str) and (known := _BOOLEANS.get(value.strip().lower())) is not None:
        return known
    if not isinstance(value, bool):
        raise _refusal(field, value, "true or false")
    return value


def seconds(field: str, value: Any) -> float | None:
    """Return a number of seconds above 0, at most ten years.

    :raises SparkDanceRequestError: the value isn't one.
    """
    if is_unset(value):
        return None
    number = math.nan
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            number = float(value)
    if not (math.isfinite(number) and 0 < number <= LONGEST_SECONDS):
        raise _refusal(field, value, f"a number of seconds above 0 and at most {LONGEST_SECONDS:.0f}")
    return number


def usd(field: str, value: Any) -> Decimal | None:
    """Return an amount in USD, 0 or more.

    :raises SparkDanceRequestError: the value isn't one.
    """
    if is_unset(value):
        return None
    amount = Decimal("NaN")
    if isinstance(value, int | float | str | Decimal) and not isinstance(value, bool):
        with suppress(InvalidOperation):
            amount = Decimal(str(value).strip())
    if not amount.is_finite() or amount < 0:
        raise _refusal(field, value, "an amount in USD of 0 or more")
    return amount


def choice(field: str, value: Any, choices: Sequence[str]) -> str:
    """Return one of the choices, the first where the value isn't set.

    :raises SparkDanceRequestError: the value is none of them.
    """
    chosen = text(field, value)
    if chosen is None:
        return choices[0]
    if chosen not in choices:
        raise _refusal(field, value, f"one of {', '.join(choices)}")
    return chosen


def folder(field: str, value: Any) -> str | None:
    """Return a folder in object storage.

    :raises SparkDanceRequestError: the value can't be one, or holds a password.
    """
    path = text(field, value)
    try:
        return None if path is None else read_folder(path)
    except ValueError as error:
        raise SparkDanceRequestError(f"{field} {error}.") from None


def picture_url(field: str, value: Any) -> str | None:
    """Return a frame's URL or path.

    :raises SparkDanceRequestError: the value isn't text, or is a data URI, which Airflow would
        store among the rendered fields.
    """
    url = text(field, value)
    if url is not None and is_data_uri(url):
        raise SparkDanceRequestError(
            f"{field} is a data URI of {len(url):,} characters. An operator's fields are stored and shown by Airflow, "
            "so pictures go in as a URL or a file; from your own code SparkDanceHook.submit(VideoRequest) takes a data "
            "URI."
        )
    return url


def is_unset(value: Any) -> bool:
    """Whether a value means that nothing was set."""
    return value is None or (isinstance(value, str) and value.strip() in {"", "None"})


def _refusal(field: str, value: Any, wanted: str) -> SparkDanceRequestError:
    return SparkDanceRequestError(f"{field} must be {wanted}, not {show(value)} ({type(value).__name__}).")
