"""Libraries that are older than acclimate needs are named, with what to type, where they would fail."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from acclimate.api.doctor import doctor
from acclimate.base.errors import MissingExtra
from acclimate.base.requirements import outdated
from acclimate.deploy.exports.formats import needed

METADATA = """Metadata-Version: 2.4
Name: acclimate
Version: 0.1.0
Requires-Dist: pytest>=9999
Requires-Dist: pluggy>=0.1
Requires-Dist: a-library-that-nobody-has>=1
Requires-Dist: packaging>=9999; extra == "onnx"
Requires-Dist: packaging>=9999; extra == "pdf"
Requires-Dist: another-that-nobody-has; extra == "pdf"
Requires-Dist: hypothesis>=9999; extra == "dev"
Provides-Extra: dev
Provides-Extra: onnx
Provides-Extra: pdf
"""
PYTEST = f"pytest 9999 or newer ({version('pytest')} is installed)"
PACKAGING = f"packaging 9999 or newer ({version('packaging')} is installed)"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An acclimate that asks for more than there is."""
    (tmp_path / "acclimate-0.1.0.dist-info").mkdir()
    (tmp_path / "acclimate-0.1.0.dist-info" / "METADATA").write_text(METADATA)
    monkeypatch.syspath_prepend(tmp_path)


def test_what_is_too_old_is_named_and_not_what_is_missing_or_for_development(package):
    """Extras are looked at if all that they need is installed."""
    assert [str(each) for each in outdated()] == [PYTEST, PACKAGING]
    assert [str(each) for each in outdated("onnx")] == [PACKAGING]


def test_doctor_says_what_to_type(package):
    said = [str(check) for check in doctor()]
    assert f"missing  {PYTEST}   ->  pip install 'pytest>=9999'" in said
    assert f"missing  {PACKAGING}, for acclimate[onnx] (optional)   ->  pip install 'packaging>=9999'" in said


def test_an_export_is_refused_where_a_library_that_its_own_needs_is_too_old(package):
    with pytest.raises(MissingExtra) as raised:
        needed("json", "An export to ONNX", "onnx")
    assert str(raised.value) == f"An export to ONNX needs {PACKAGING}: pip install 'acclimate[onnx]'"
