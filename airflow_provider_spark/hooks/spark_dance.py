"""SparkDanceHook: an Airflow connection becomes a client of the Spark Dance API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook
from airflow.sdk import log

from airflow_provider_spark.api.errors import (
    SparkDanceAccountError,
    SparkDanceAuthenticationError,
    SparkDanceConfigurationError,
    SparkDanceConnectionLookupError,
    SparkDanceError,
    SparkDanceHostError,
    SparkDanceNotFoundError,
    SparkDanceUnreachableError,
)
from airflow_provider_spark.api.text import means_web_url
from airflow_provider_spark.get_provider_info import get_provider_info
from airflow_provider_spark.hooks.settings import Settings

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from airflow_provider_spark.api.client import AsyncSparkDanceClient, SparkDanceClient
    from airflow_provider_spark.api.generation import Generation
    from airflow_provider_spark.api.pricing import Estimate
    from airflow_provider_spark.api.request import VideoRequest

# An id that the vendor gives to no generation.
_PROBE = "connection-test"


class SparkDanceHook(BaseHook):
    """Reads a ``spark_dance`` connection and opens clients with it.

    The connection is looked up once for each hook; :meth:`reload` and :meth:`areload` look it up anew.

    :param spark_dance_conn_id: id of the connection. Password: the API key. Host: the base
        URL, by default the vendor's. Extra: see the documentation's connection page.
    """

    conn_name_attr = "spark_dance_conn_id"
    default_conn_name = "spark_dance_default"
    conn_type = "spark_dance"
    hook_name = "Spark Dance"

    def __init__(self, spark_dance_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spark_dance_conn_id = spark_dance_conn_id
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """The checked connection.

        :raises SparkDanceConfigurationError: a field of the connection can't be right.
        """
        return self._settings or self.reload()

    def reload(self) -> Settings:
        """Look the connection up again: a key can have been changed since.

        :raises SparkDanceConfigurationError: there is no such connection, or a field of it can't be right.
        :raises SparkDanceConnectionLookupError: Airflow can't say at the moment.
        """
        with _looking_up(self.spark_dance_conn_id):
            connection = self.get_connection(self.spark_dance_conn_id)
            extra = connection.extra_dejson
        settings = self._read(connection, extra)
        for secret in settings.secrets:
            log.mask_secret(secret)
        self._settings = settings
        return settings

    async def areload(self) -> Settings:
        """Look the connection up again, without blocking the event loop; raises as :meth:`reload`."""
        with _looking_up(self.spark_dance_conn_id):
            connection = await get_async_connection(self.spark_dance_conn_id, hook=self)
            extra = await get_async_extra_dejson(connection)
        settings = self._read(connection, extra)
        for secret in settings.secrets:
            await _amask(secret)
        self._settings = settings
        return settings

    def get_conn(self) -> SparkDanceClient:
        """Open a client. Close it, or use it as a context manager."""
        from airflow_provider_spark.api.client import SparkDanceClient

        return SparkDanceClient(self.settings.endpoint)

    async def get_async_conn(self) -> AsyncSparkDanceClient:
        """Open an async client. Close it, or use it as an async context manager."""
        from airflow_provider_spark.api.client import AsyncSparkDanceClient

        settings = self._settings or await self.areload()
        return AsyncSparkDanceClient(settings.endpoint)

    def submit(self, request: VideoRequest) -> Generation:
        """Order a generation. This costs money, and there is no way to look up a lost reply.

        :raises SparkDanceError: as :meth:`~airflow_provider_spark.api.client.SparkDanceClient.submit`.
        """
        with self.get_conn() as client:
            return client.submit(request)

    def get_generation(self, generation_id: str) -> Generation:
        """Ask once how a generation is.

        :raises SparkDanceError: as :meth:`~airflow_provider_spark.api.client.SparkDanceClient.get`.
        """
        with self.get_conn() as client:
            return client.get(generation_id)

    def estimate(self, request: VideoRequest) -> Estimate:
        """Return what a request may cost, at the connection's price."""
        from airflow_provider_spark.api.pricing import estimate

        return estimate(request, self.settings.price_per_million_tokens)

    def read_frame(self, source: str, *, fit_frames: bool = False) -> str:
        """Read a picture from a path, object storage or a URL, check it, and return it as a data URI.

        It goes into ``VideoRequest.compose(first_frame=...)``, and shouldn't into a log or an XCom. A URL is fetched
        without the key; of the connection only ``verify`` counts.

        :raises SparkDanceError: as :func:`~airflow_provider_spark.media.frames.read_frame`.
        """
        from airflow_provider_spark.media.frames import read_frame

        verify = self.settings.endpoint.tls() if means_web_url(source) else True
        return read_frame(source, fit_frames=fit_frames, verify=verify).data_uri

    def test_connection(self) -> tuple[bool, str]:
        """Check host and key without paying: ask for a generation that can't exist."""
        try:
            host = self.reload().endpoint.base_url
            self.get_generation(_PROBE)
        except SparkDanceNotFoundError as error:
            if not error.in_vendor_form:
                return False, _not_the_vendor(host, f"It says HTTP {error.http_status} to a poll.")
        except SparkDanceAuthenticationError as error:
            return False, f"The key was refused. {error.gist}"
        except SparkDanceAccountError as error:
            return False, f"The key was recognised, but the account may not order. {error.gist}"
        except (SparkDanceHostError, SparkDanceUnreachableError, SparkDanceConfigurationError) as error:
            return False, error.gist
        except SparkDanceError as error:
            if not error.in_vendor_form:
                return False, _not_the_vendor(host, error.gist)
            doubt = "answers, and nothing speaks against the key, but it can't be checked just now."
            return True, f"{host} {doubt} {error.gist}"
        except AirflowNotFoundException as error:
            return False, str(error)
        except Exception as error:
            # Airflow shows what is returned, not what is raised; the text of a stranger may quote the connection.
            return False, f"The connection can't be tested ({type(error).__name__})."
        return True, f"{host} accepts the key."

    def _read(self, connection: Connection, extra: dict[str, Any]) -> Settings:
        settings = Settings.from_connection(connection, extra)
        for name in settings.unknown_extras:
            self.log.warning("Connection %r: extra %r isn't known and has no effect.", connection.conn_id, name)
        return settings

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the connection form's labels, for Airflow 3.1; newer versions read the provider info."""
        behaviour = _connection_type()["ui-field-behaviour"]
        return {
            "hidden_fields": behaviour["hidden-fields"],
            "relabeling": behaviour["relabeling"],
            "placeholders": behaviour["placeholders"],
        }

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the connection form's own fields, for Airflow 3.1; newer versions read the provider info."""
        from wtforms import BooleanField, PasswordField, StringField

        def field(spec: dict[str, Any]) -> Any:
            schema = spec["schema"]
            if "boolean" in schema["type"]:
                kind = BooleanField
            elif schema.get("format") == "password":
                kind = PasswordField
            else:  # numbers too: Airflow 3.1 has no field for them, and Settings reads text
                kind = StringField
            return kind(spec["label"], description=spec["description"])

        return {name: field(spec) for name, spec in _connection_type()["conn-fields"].items()}


@contextmanager
def _looking_up(conn_id: str) -> Iterator[None]:
    """Put what Airflow raises into our terms, without its text: that may quote the connection, key and all."""
    try:
        yield
    except AirflowNotFoundException:
        raise SparkDanceConfigurationError(f"The connection {conn_id!r} isn't defined.") from None
    except Exception as error:
        raise SparkDanceConnectionLookupError(
            f"The connection {conn_id!r} can't be read at the moment ({type(error).__name__})."
        ) from None


async def _amask(secret: str) -> None:
    """Mask a secret from an event loop, over the line to the supervisor that belongs to this loop."""
    if hasattr(log, "amask_secret"):
        await log.amask_secret(secret)
    else:  # Airflow before 3.3.2; from any thread but asgiref's, its answer would be waited for on another loop
        from asgiref.sync import sync_to_async

        await sync_to_async(log.mask_secret)(secret)


def _not_the_vendor(host: str, reason: str) -> str:
    return f"{host} doesn't answer as the Spark Dance API does; is it the right host? {reason}"


def _connection_type() -> dict[str, Any]:
    connection_type: dict[str, Any] = get_provider_info()["connection-types"][0]
    return connection_type
