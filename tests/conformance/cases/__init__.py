"""All tables of cases; `SECTIONS` says for each section whether something can be refused there."""

from __future__ import annotations

from tests.conformance.case import Case
from tests.conformance.cases import (
    attributes,
    building,
    composition,
    environments,
    interpolation,
    loading,
    merging,
    resources,
    storage,
    whole,
    yaml_text,
)

CASES: tuple[Case, ...] = (
    *loading.CASES,
    *yaml_text.CASES,
    *interpolation.CASES,
    *environments.CASES,
    *merging.CASES,
    *composition.CASES,
    *attributes.CASES,
    *storage.CASES,
    *building.CASES,
    *resources.CASES,
    *whole.CASES,
)

SECTIONS = dict.fromkeys(range(1, 25), True) | {25: False, 26: False, 27: False}
