"""What an Airflow connection of type ``spark_dance`` says, checked and put into the API layer's terms."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import unquote, urlsplit

from airflow_provider_spark.api.endpoint import DEFAULT_BASE_URL, Endpoint
from airflow_provider_spark.api.errors import SparkDanceConfigurationError
from airflow_provider_spark.api.pricing import LIST_PRICE
from airflow_provider_spark.polling.limit import DEFAULT_REQUESTS_PER_SECOND
from airflow_provider_spark.polling.schedule import Pace

T = TypeVar("T")

# What is above these is a slip of the keyboard, which must not come out when an order is paid already.
LONGEST_SECONDS = 86_400.0
HIGHEST_PRICE = Decimal(1_000_000)
HIGHEST_RATE = 10_000.0
# A result of 4 KB in XCom names three files in it.
LONGEST_FOLDER = 600

_NAME = re.compile(r"[a-z0-9._-]+")

KNOWN_EXTRAS = frozenset(
    {
        "request_timeout",
        "price_per_million_tokens",
        "poll_floor",
        "poll_ceiling",
        "max_requests_per_second",
        "verify",
        "proxy",
        "allow_http",
        "ledger_path",
        "save_to",
    }
)


class ConnectionFields(Protocol):
    """The fields that are read of an Airflow connection."""

    conn_id: str
    host: str | None
    schema: str | None
    password: str | None
    port: int | None


@dataclass(frozen=True)
class Settings:
    """A checked connection."""

    endpoint: Endpoint
    price_per_million_tokens: Decimal = LIST_PRICE
    pace: Pace = Pace()
    max_requests_per_second: float = DEFAULT_REQUESTS_PER_SECOND
    """Polls that a triggerer may make with this connection in any second."""
    ledger_path: str | None = None
    """Folder in object storage that keeps the ledger's records and the orders' receipts."""
    save_to: str | None = None
    """Folder in object storage that keeps the files of finished videos, where a task names none."""
    unknown_extras: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown: the key as it is sent, and the proxy's password.

        Airflow masks the connection's password as it was typed, which differs from the key
        when it was pasted with a ``Bearer`` or white space; the extra's values it doesn't mask.
        """
        proxy = self.endpoint.proxy_url
        password = urlsplit(proxy).password if proxy else None
        secrets = {self.endpoint.key, password, password and unquote(password)}
        return tuple(sorted(secret for secret in secrets if secret))

    @classmethod
    def from_connection(cls, connection: ConnectionFields, extra: Mapping[str, Any]) -> Settings:
        """Read a connection's fields and its extra (already deserialized).

        Values of the extra may be text: a connection given as a URI has nothing else.

        :raises SparkDanceConfigurationError: a field can't be right; the message names the
            connection and the field, never the key or a password.
        """
        try:
            read = _Extra(extra)
            endpoint = Endpoint(
                base_url=read_base_url(
                    connection.host,
                    connection.schema,
                    connection.port,
                    allow_http=read("allow_http", _boolean, default=False),
                ),
                api_key=clean_key(connection.password),
                request_timeout=read("request_timeout", _positive, default=Endpoint.request_timeout),
                verify=read("verify", _verify, default=cast("bool | str", True)),
                proxy=read("proxy", _proxy, default=None),
            )
            floor = read("poll_floor", _positive, default=Pace().floor)
            ceiling = read("poll_ceiling", _positive, default=max(Pace().ceiling, floor))
            return cls(
                endpoint=endpoint,
                price_per_million_tokens=read("price_per_million_tokens", _price, default=LIST_PRICE),
                pace=Pace(floor=floor, ceiling=ceiling),
                max_requests_per_second=read("max_requests_per_second", _rate, default=DEFAULT_REQUESTS_PER_SECOND),
                ledger_path=read("ledger_path", read_folder, default=None),
                save_to=read("save_to", read_folder, default=None),
                unknown_extras=tuple(sorted(set(extra) - KNOWN_EXTRAS)),
            )
        except (ValueError, SparkDanceConfigurationError) as error:
            # Without its cause: a parser's own message may quote the host or proxy with a password in it.
            reason = str(error).rstrip(".")
            raise SparkDanceConfigurationError(f"Connection {connection.conn_id!r}: {reason}.") from None


def clean_key(password: str | None) -> str:
    """Return the API key as it goes into the header: white space stripped, a pasted ``Bearer`` removed.

    :raises ValueError: there is no key, or it has characters that can't stand in a header. The key isn't shown.
    """
    key = (password or "").strip()
    scheme, *rest = key.split(maxsplit=1)[:2] or [""]
    if scheme.lower() == "bearer":
        key = "".join(rest)
    if not key:
        raise ValueError("the password is empty; it must be the Spark Dance API key")
    if not (key.isascii() and key.isprintable()):
        odd = next(at for at, character in enumerate(key, start=1) if not " " <= character <= "~")
        raise ValueError(
            f"the API key (the password) has a character outside printable ASCII at position {odd} of {len(key)}; "
            "copy the key again, without line breaks or quotes around it"
        )
    return key


def read_base_url(host: str | None, schema: str | None, port: int | None, *, allow_http: bool) -> str:
    """Return the base URL for the fields of a connection: the vendor's where they don't name a host.

    The host may be a URL or a bare name. https unless the host is a loopback address or ``allow_http``.

    :raises ValueError: the fields don't make a base URL.
    """
    host = (host or "").strip()
    schema = (schema or "").strip().strip("/").lower()
    if schema == "model":  # the path of a URL-shaped connection lands in the schema field
        schema = ""
    if schema not in {"", "http", "https"}:
        # Not shown: of a URI whose key isn't escaped, the schema is a part of the key.
        raise ValueError("the schema must be http or https")
    if not host:
        if port:
            raise ValueError("a port is set but no host")
        return DEFAULT_BASE_URL
    if "@" in host:
        raise ValueError("the host must not contain a user or password; the key belongs into the password field")
    scheme_in_host, separator, rest = host.partition("://")
    if separator:
        scheme = scheme_in_host.lower()
        if scheme not in {"http", "https"}:
            raise ValueError(f"the host must be an http or https URL or a bare name, not a {scheme!r} URL")
        if schema and schema != scheme:
            raise ValueError(f"the schema says {schema} but the host says {scheme}")
    else:
        scheme, rest = schema, host
    if _is_ipv6(rest):
        rest = f"[{rest}]"
    try:
        parts = urlsplit(f"//{rest}")
        name, port_in_host = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the host can't be read as a URL or a name") from None
    if parts.query or parts.fragment:
        raise ValueError("the host must not contain a query or a fragment")
    if not name or not (_NAME.fullmatch(name) or _is_ipv6(name)):
        raise ValueError("the host has no name that can be looked up (an international name goes in as punycode)")
    path = parts.path.strip("/")
    if path not in {"", "model"}:
        raise ValueError(f"the host has a path that isn't part of the API: {path!r}")
    if port and port_in_host and int(port) != port_in_host:
        raise ValueError(f"the port says {port} but the host says {port_in_host}")
    if port_in_host is not None:
        port = port_in_host
    elif not port:  # some forms store an empty port as 0
        port = None
    if port is not None and not 0 < port < 65536:
        raise ValueError(f"the port must be within 1 to 65535, not {port}")
    if not scheme:
        scheme = "http" if _is_loopback(name) else "https"
    if scheme == "http" and not (allow_http or _is_loopback(name)):
        raise ValueError(
            "the host is reached over plain http, which would send the key unencrypted; "
            "use https, or set extra allow_http to true if the network is trusted"
        )
    location = f"[{name}]" if ":" in name else name
    return f"{scheme}://{location}{f':{port}' if port else ''}"


def _is_ipv6(name: str) -> bool:
    try:
        ipaddress.IPv6Address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class _Extra:
    """Reads one value of the extra after the other; an error names its key."""

    def __init__(self, extra: Mapping[str, Any]) -> None:
        if not isinstance(extra, Mapping):
            raise ValueError("the extra must be a JSON object")
        self._extra = extra

    def __call__(self, name: str, parse: Callable[[Any], T], *, default: T) -> T:
        value = self._extra.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return default
        try:
            return parse(value)
        except ValueError as error:
            raise ValueError(f"extra {name} {error}") from None


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("must be a number") from None
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def _positive(value: Any) -> float:
    number = _number(value)
    if number <= 0:
        raise ValueError(f"must be above 0 seconds, not {number:g}")
    if number > LONGEST_SECONDS:
        raise ValueError(f"must be at most {LONGEST_SECONDS:g} seconds, not {number:g}")
    return number


def _rate(value: Any) -> float:
    number = _number(value)
    if not 1 / 60 <= number <= HIGHEST_RATE:
        raise ValueError(f"must be a number of calls from 1/60 (one a minute) to {HIGHEST_RATE:g}, not {number:g}")
    return number


def _price(value: Any) -> Decimal:
    if isinstance(value, bool):
        raise ValueError("must be an amount in USD, not true or false")
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("must be an amount in USD") from None
    if not (price.is_finite() and 0 <= price <= HIGHEST_PRICE):
        raise ValueError(f"must be an amount in USD from 0 to {HIGHEST_PRICE}, not {price}")
    return price


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        raise ValueError("must be text")
    return value.strip()


def _proxy(value: Any) -> str | None:
    url = _text(value) or ""
    # A password that isn't escaped would be taken for the host, or for the end of the URL.
    if "?" in url or "#" in url or "@" in url.partition("://")[2].partition("/")[2]:
        raise ValueError("must be a URL whose user and password are percent-encoded")
    return url


def read_folder(value: Any) -> str | None:
    """Return a folder as ``ObjectStoragePath`` takes it, ``None`` for empty text.

    :raises ValueError: it can't be one, or holds a password.
    """
    path = _text(value)
    if not path:
        return None
    _, separator, rest = path.partition("://")
    if separator and ":" in rest.partition("/")[0].rpartition("@")[0]:
        raise ValueError("must not hold a password; name an Airflow connection instead: s3://aws_default@bucket/folder")
    if not separator and not path.startswith("/"):
        raise ValueError("must be a URL such as s3://aws_default@bucket/folder or an absolute path")
    if len(json.dumps(path)) > LONGEST_FOLDER:
        raise ValueError(f"must be at most {LONGEST_FOLDER} characters of JSON, as a result holds it three times")
    return path


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in {"true", "1", "yes", "on"}:
        return True
    if text in {"false", "0", "no", "off"}:
        return False
    raise ValueError("must be true or false")


def _verify(value: Any) -> bool | str:
    try:
        return _boolean(value)
    except ValueError:
        if isinstance(value, str):
            return value.strip()
        raise ValueError("must be true, false or the path of a certificate bundle") from None
