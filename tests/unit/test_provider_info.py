from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import airflow
import pytest
from airflow.sdk import BaseHook, BaseOperator, BaseOperatorLink
from airflow.triggers.base import BaseTrigger
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from airflow_provider_spark import __version__
from airflow_provider_spark.get_provider_info import get_provider_info
from airflow_provider_spark.hooks.spark_dance import SparkDanceHook

AIRFLOW = Path(airflow.__file__).parent
ROOT = Path(__file__).parents[2]
FORM_FROM_PROVIDER_INFO = tuple(map(int, importlib.metadata.version("apache-airflow").split(".")[:2])) >= (3, 2)
FIELDS = {
    "request_timeout": "number",
    "price_per_million_tokens": "number",
    "poll_floor": "number",
    "poll_ceiling": "number",
    "verify": "string",
    "proxy": "string",
    "allow_http": "boolean",
}


def connection_type() -> dict[str, Any]:
    (only,) = get_provider_info()["connection-types"]
    assert isinstance(only, dict)
    return only


def test_it_fits_the_schema_that_airflow_checks_at_every_start() -> None:
    schema = json.loads((AIRFLOW / "provider_info.schema.json").read_text())
    Draft7Validator(schema).validate(get_provider_info())


def test_its_connection_fits_the_stricter_schema_of_airflows_own_providers() -> None:
    schema = json.loads((AIRFLOW / "provider.yaml.schema.json").read_text())
    item = schema["properties"]["connection-types"]["items"]
    if "conn-fields" not in item["properties"]:
        pytest.skip("this Airflow knows no form fields in the provider info")
    Draft7Validator({**item, "additionalProperties": False}).validate(connection_type())


def test_its_type_of_connection_is_not_that_of_apache_spark() -> None:
    assert connection_type()["connection-type"] == SparkDanceHook.conn_type == "spark_dance"


def test_it_costs_no_import() -> None:
    code = "import sys; import airflow_provider_spark.get_provider_info; print(*sys.modules)"
    loaded = python(code).split()
    assert not {name.partition(".")[0] for name in loaded} & {"airflow", "pydantic", "httpx", "PIL"}


def test_every_class_and_module_it_lists_is_there() -> None:
    info = get_provider_info()
    assert issubclass(class_at(connection_type()["hook-class-name"]), BaseHook)
    (link,) = info["extra-links"]
    assert issubclass(class_at(link), BaseOperatorLink)
    for kind, base in (("hooks", BaseHook), ("operators", BaseOperator), ("triggers", BaseTrigger)):
        for entry in info[kind]:
            assert entry["integration-name"] in {one["integration-name"] for one in info["integrations"]}
            for name in entry["python-modules"]:
                module = importlib.import_module(name)
                own = [one for one in vars(module).values() if getattr(one, "__module__", None) == name]
                assert any(isinstance(one, type) and issubclass(one, base) for one in own), name


def test_every_module_of_a_kind_is_listed() -> None:
    info = get_provider_info()
    for kind in ("hooks", "operators", "triggers"):
        listed = {name for entry in info[kind] for name in entry["python-modules"]}
        assert f"airflow_provider_spark.{kind}.spark_dance" in listed


class TestTheFormBeforeAirflow32:
    """There the hook itself describes the form, in terms of a library that the web server has or stands in for."""

    @pytest.fixture
    def fields(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        def kind(name: str) -> Any:
            return lambda label, description="": SimpleNamespace(kind=name, label=label, description=description)

        library = ModuleType("wtforms")
        for name in ("StringField", "PasswordField", "BooleanField"):
            setattr(library, name, kind(name))
        monkeypatch.setitem(sys.modules, "wtforms", library)
        return SparkDanceHook.get_connection_form_widgets()

    def test_has_the_fields_of_the_provider_info(self, fields: dict[str, Any]) -> None:
        described = connection_type()["conn-fields"]
        assert list(fields) == list(described)
        for name, field in fields.items():
            assert (field.label, field.description) == (described[name]["label"], described[name]["description"])

    def test_hides_the_proxy_as_it_is_typed(self, fields: dict[str, Any]) -> None:
        assert [name for name, field in fields.items() if field.kind == "PasswordField"] == ["proxy"]

    def test_has_a_box_for_what_is_true_or_false(self, fields: dict[str, Any]) -> None:
        assert [name for name, field in fields.items() if field.kind == "BooleanField"] == ["allow_http"]

    def test_behaves_as_the_provider_info_says(self) -> None:
        behaviour = {name.replace("_", "-"): value for name, value in SparkDanceHook.get_ui_field_behaviour().items()}
        assert behaviour == connection_type()["ui-field-behaviour"]


@pytest.fixture(scope="module")
def form(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The form of our connection, as Airflow's web server hands it to the browser."""
    code = """
        import json
        from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

        (form,) = [one for one in HookMetaService.hook_meta_data() if one.connection_type == "spark_dance"]
        print("FORM", json.dumps(form.model_dump(mode="json")))
    """
    return answer_of("FORM", code, installed(tmp_path_factory))


class TestAirflowsOwnView:
    """What Airflow's web server and workers find, in a process of their own, with every warning of ours an error."""

    def test_of_the_form_is_named_and_testable(self, form: dict[str, Any]) -> None:
        assert form["hook_name"] == "Spark Dance"
        assert form["hook_class_name"] == "airflow_provider_spark.hooks.spark_dance.SparkDanceHook"

    def test_of_the_forms_fields_is_complete(self, form: dict[str, Any]) -> None:
        fields = form["extra_fields"]
        assert set(fields) >= set(FIELDS)
        for name, kind in FIELDS.items():
            schema = fields[name]["schema"]
            # Airflow 3.1 has no field for a fraction; the hook reads text.
            assert (kind if FORM_FROM_PROVIDER_INFO or kind != "number" else "string") in schema["type"], name
            assert "null" in schema["type"], name
            described = connection_type()["conn-fields"][name]
            assert (schema["title"], fields[name]["description"]) == (described["label"], described["description"])
        assert fields["proxy"]["schema"]["format"] == "password"

    def test_of_the_standard_fields_is_ours(self, form: dict[str, Any]) -> None:
        standard = form["standard_fields"]
        assert standard["login"]["hidden"]
        assert standard["password"]["title"] == "API key"
        assert standard["host"]["title"] == "Base URL"
        assert standard["host"]["placeholder"] == "https://cloud.vtrix.ai"
        assert standard["url_schema"]["title"] == "Scheme"

    def test_of_the_provider_is_complete(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        code = """
            import importlib, json
            from airflow.providers_manager import ProvidersManager

            manager = ProvidersManager()
            try:
                from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime
            except ImportError:
                runtime = manager
            else:
                runtime = ProvidersManagerTaskRuntime()
            hook = runtime.hooks["spark_dance"]
            print("FOUND", json.dumps({
                "version": manager.providers["airflow-provider-spark"].version,
                "hook": hook.hook_class_name,
                "connection_id": hook.connection_id_attribute_name,
                "testable": hook.connection_testable,
                "links": [name for name in manager.extra_links_class_names if "spark_dance" in name],
            }))
        """
        found = answer_of("FOUND", code, installed(tmp_path_factory))
        assert found["version"] == __version__
        assert found["hook"] == "airflow_provider_spark.hooks.spark_dance.SparkDanceHook"
        assert found["connection_id"] == "spark_dance_conn_id"
        assert found["testable"]
        assert found["links"] == ["airflow_provider_spark.links.spark_dance.SparkDanceVideoLink"]


def class_at(path: str) -> type:
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, type)
    return found


def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that makes the provider known to Airflow, also where it is only on the path."""
    folder = tmp_path_factory.mktemp("installed")
    try:
        importlib.metadata.distribution("airflow-provider-spark")
    except importlib.metadata.PackageNotFoundError:
        metadata = folder / f"airflow_provider_spark-{__version__}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: airflow-provider-spark\nVersion: {__version__}\n"
        )
        entry_point = "provider_info=airflow_provider_spark.get_provider_info:get_provider_info"
        (metadata / "entry_points.txt").write_text(f"[apache_airflow_provider]\n{entry_point}\n")
    return folder


def python(code: str, *options: str, path: Path | None = None) -> str:
    """What a fresh Python prints."""
    paths = [str(ROOT), *([str(path)] if path else [])]
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    complaints = [line for line in done.stderr.splitlines() if "[info" not in line and "airflow_provider_spark" in line]
    assert not complaints, done.stderr
    return done.stdout


def answer_of(word: str, code: str, path: Path) -> dict[str, Any]:
    """The JSON that a fresh Python prints behind a word; with newer libraries Airflow 3.1 warns of itself."""
    options = ("-W", "error") if FORM_FROM_PROVIDER_INFO else ()
    (line,) = [line for line in python(code, *options, path=path).splitlines() if line.startswith(word)]
    answer = json.loads(line.removeprefix(word))
    assert isinstance(answer, dict)
    return answer
