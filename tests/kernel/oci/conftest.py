"""The cases' own asserts tell what they compared."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.kernel.oci.cases", "tests.support.oci")
