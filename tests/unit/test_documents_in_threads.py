"""Documents are decoded from several threads at once, the first time too.

msgspec builds what it knows of a Struct at its first use; a thread that uses what another has half built crashes the
process (seen with 0.22: a manager that started two containers at once died of SIGSEGV). So modules build it at import.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import msgspec
import pytest
from msgspec import inspect as shapes

RACE = """
import importlib, sys, threading
import msgspec

module, name, text = sys.argv[1:]
kind = getattr(importlib.import_module(module), name)
sys.setswitchinterval(1e-6)
barrier = threading.Barrier(8)

def decode():
    barrier.wait()
    msgspec.json.decode(text, type=kind)

threads = [threading.Thread(target=decode) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
MODULES = (
    "runtime.records",
    "runtime.spec.config",
    "runtime.spec.image",
    "runtime.image.snapshot",
    "runtime.oci.state",
    "orchestrator.run.records",
    "orchestrator.daemon.stack_routes",
)


def kinds_of(module: str) -> list[str]:
    """Return the names of the Structs that the module defines."""
    return [
        name
        for name, kind in vars(importlib.import_module(module)).items()
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and kind.__module__ == module
        and name == kind.__name__
    ]


def a_value(shape: shapes.Type) -> object:
    """Return a value of this shape, every field of every object given."""
    match shape:
        case shapes.StructType(fields=fields) | shapes.DataclassType(fields=fields):
            return {field.encode_name: a_value(field.type) for field in fields}
        case shapes.UnionType(types=types):
            return a_value(next(each for each in types if not isinstance(each, shapes.NoneType)))
        case shapes.DictType(value_type=value):
            return {"key": a_value(value)}
        case (
            shapes.VarTupleType(item_type=item)
            | shapes.ListType(item_type=item)
            | shapes.FrozenSetType(item_type=item)
            | shapes.SetType(item_type=item)
        ):
            return [a_value(item)]
        case shapes.TupleType(item_types=items):
            return [a_value(item) for item in items]
        case shapes.EnumType(cls=cls):
            return next(iter(cls)).value
        case shapes.LiteralType(values=values):
            return values[0]
        case shapes.StrType():
            return "text"
        case shapes.BytesType():
            return "dGV4dA=="
        case shapes.BoolType():
            return True
        case shapes.IntType() | shapes.FloatType():
            return 1
        case _:
            return {}


@pytest.mark.parametrize("module", MODULES)
def test_the_first_decoding_may_happen_in_many_threads(module: str) -> None:
    """Seen to fail for OciConfig in every run, with the line that builds it at import taken out."""
    for name in kinds_of(module):
        kind = getattr(importlib.import_module(module), name)
        text = json.dumps(a_value(shapes.type_info(kind)))
        result = subprocess.run(
            [sys.executable, "-c", RACE, module, name, text],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert result.returncode == 0, f"{name}: {result.stderr or result.returncode}"
        assert not result.stderr, f"{name}: {result.stderr}"
