"""Who is measured: the provider's trigger, the peers', bare aiohttp, and every transport tried for the hub."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

Run = Callable[[int, float], Awaitable[object]]

# As someone would set it who polls up to a thousand times a second.
LIMIT = 1500


class NeverEndsError(Exception):
    """A trigger of a poll that never ends has ended."""


def connection(conn_id: str, **fields: Any) -> None:
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(fields)


async def end_of(trigger: Any) -> Any:
    async for event in trigger.run():
        return event.payload
    raise NeverEndsError


def spark_dance(url: str, verify: str | None) -> Run:
    from airflow_provider_spark.triggers.spark_dance import SparkDanceGenerationTrigger

    connection(
        "waits",
        conn_type="spark_dance",
        host=url,
        password="sk-benchmark",
        extra={"max_requests_per_second": LIMIT, **({"verify": verify} if verify else {})},
    )

    def run(number: int, interval: float) -> Awaitable[object]:
        now = time.time()
        return end_of(
            SparkDanceGenerationTrigger(
                generation_id=f"sd-{number}",
                spark_dance_conn_id="waits",
                submitted_at=now,
                deadline=now + 86_400,
                shape={"pixels": 1920 * 1088, "frames": 240, "tier": "default"},
                poll={"interval": interval},
            )
        )

    return run


def databricks(url: str, verify: str | None) -> Run:
    from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger

    parts = urlsplit(url)
    connection(
        "waits", conn_type="databricks", host=parts.hostname, port=parts.port, schema=parts.scheme, password="token"
    )
    return lambda number, interval: end_of(
        DatabricksExecutionTrigger(run_id=number, databricks_conn_id="waits", polling_period_seconds=interval)
    )


def anthropic(url: str, verify: str | None) -> Run:
    from airflow.providers.anthropic.triggers.batch import AnthropicBatchTrigger

    connection("waits", conn_type="anthropic", host=url, password="key")
    return lambda number, interval: end_of(
        AnthropicBatchTrigger(
            conn_id="waits", batch_id=f"msgbatch_{number}", poll_interval=interval, end_time=time.time() + 86_400
        )
    )


def openai(url: str, verify: str | None) -> Run:
    from airflow.providers.openai.triggers.openai import OpenAIBatchTrigger

    connection("waits", conn_type="openai", host=f"{url}/v1", password="key")
    return lambda number, interval: end_of(
        OpenAIBatchTrigger(conn_id="waits", batch_id=f"batch_{number}", poll_interval=interval, timeout=86_400)
    )


def dbt_cloud(url: str, verify: str | None) -> Run:
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    connection("waits", conn_type="dbt_cloud", host=urlsplit(url).netloc, login="1", password="key")
    return lambda number, interval: end_of(
        DbtCloudRunJobTrigger(
            conn_id="waits", run_id=number, end_time=time.time() + 86_400, poll_interval=interval, account_id=1
        )
    )


def http(url: str, verify: str | None) -> Run:
    from airflow.providers.http.triggers.http import HttpSensorTrigger

    connection("waits", conn_type="http", host=url)
    return lambda number, interval: end_of(
        HttpSensorTrigger(endpoint=f"sensor/{number}", http_conn_id="waits", poke_interval=interval)
    )


def raw_aiohttp(url: str, verify: str | None) -> Run:
    """One session for all, a plain loop for each: what a poll costs at least with aiohttp."""
    import aiohttp

    sessions: list[aiohttp.ClientSession] = []

    def session() -> aiohttp.ClientSession:
        if not sessions:
            tls = ssl.create_default_context(cafile=verify) if verify else True
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=tls)))
        return sessions[0]

    async def run(number: int, interval: float) -> object:
        while True:
            async with session().get(
                f"{url}/model/v1/generation/task/sd-{number}", headers={"Authorization": "Bearer sk-benchmark"}
            ) as response:
                told = await response.json()
                if told["status"] == "completed":
                    return told
            await asyncio.sleep(interval)

    return run


def hub_over(open_transport: Callable[[Any], Any]) -> Callable[[str, str | None], Run]:
    """The hub as it is, with another transport."""

    def contender(url: str, verify: str | None) -> Run:
        from airflow_provider_spark.polling import lines as module

        async def opened(endpoint: Any) -> Any:
            return open_transport(endpoint)

        replaced = module.Lines(open_transport=opened)
        module.lines = lambda: replaced
        from airflow_provider_spark.triggers import spark_dance as trigger

        vars(trigger)["lines"] = module.lines
        return spark_dance(url, verify)

    return contender


def bounded(endpoint: Any, **options: Any) -> dict[str, Any]:
    import httpx

    return {"verify": endpoint.tls(), "limits": httpx.Limits(max_connections=1, max_keepalive_connections=1), **options}


class PerWorker:
    """One something for each call under way: handed back when the call is over."""

    def __init__(self, make: Callable[[], Any], send: Callable[[Any, Any], Awaitable[Any]]) -> None:
        self.make, self.sender = make, send
        self.free: list[Any] = []

    async def send(self, call: Any) -> Any:
        one = self.free.pop() if self.free else self.make()
        try:
            return await self.sender(one, call)
        finally:
            self.free.append(one)

    async def aclose(self) -> None:
        for one in self.free:
            await one.aclose()


async def by_client(client: Any, call: Any) -> tuple[int, Mapping[str, str], bytes]:
    async with client.stream(call.method, call.url, headers=call.headers) as response:
        return response.status_code, response.headers, await response.aread()


async def by_transport(transport: Any, call: Any) -> tuple[int, Mapping[str, str], bytes]:
    import httpx

    request = httpx.Request(call.method, call.url, headers=call.headers)
    request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), 30.0)
    response = await transport.handle_async_request(request)
    try:
        body = b"".join([chunk async for chunk in response.stream])
    finally:
        await response.aclose()
    return response.status_code, response.headers, body


def httpx_client(endpoint: Any) -> PerWorker:
    import httpx

    return PerWorker(lambda: httpx.AsyncClient(timeout=30, trust_env=False, **bounded(endpoint)), by_client)


def httpx_transport(endpoint: Any) -> PerWorker:
    import httpx

    return PerWorker(lambda: httpx.AsyncHTTPTransport(**bounded(endpoint)), by_transport)


class Shared(PerWorker):
    """One something for all calls."""

    async def send(self, call: Any) -> Any:
        if not self.free:
            self.free.append(self.make())
        return await self.sender(self.free[0], call)


def httpx_shared_client(endpoint: Any) -> Shared:
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return Shared(
        lambda: httpx.AsyncClient(timeout=30, trust_env=False, verify=endpoint.tls(), limits=limits), by_client
    )


def httpx_aiohttp_transport(endpoint: Any) -> Shared:
    import aiohttp
    from httpx_aiohttp import AiohttpTransport

    def make() -> Any:
        connector = aiohttp.TCPConnector(limit=0, ssl=endpoint.tls())
        return AiohttpTransport(client=aiohttp.ClientSession(connector=connector))

    return Shared(make, by_transport)


def httpx_aiohttp_client(endpoint: Any) -> Shared:
    import aiohttp
    import httpx
    from httpx_aiohttp import AiohttpTransport

    def make() -> Any:
        connector = aiohttp.TCPConnector(limit=0, ssl=endpoint.tls())
        transport = AiohttpTransport(client=aiohttp.ClientSession(connector=connector))
        return httpx.AsyncClient(timeout=30, trust_env=False, transport=transport)

    return Shared(make, by_client)


CONTENDERS: dict[str, Callable[[str, str | None], Run]] = {
    "spark_dance": spark_dance,
    "raw aiohttp": raw_aiohttp,
    "databricks": databricks,
    "anthropic": anthropic,
    "openai": openai,
    "dbt-cloud": dbt_cloud,
    "http": http,
    "hub, httpx transports": hub_over(httpx_transport),
    "hub, httpx clients": hub_over(httpx_client),
    "hub, one httpx client": hub_over(httpx_shared_client),
    "hub, httpx-aiohttp transport": hub_over(httpx_aiohttp_transport),
    "hub, httpx-aiohttp client": hub_over(httpx_aiohttp_client),
}
