#!/usr/bin/env bash
# xgrammar 0.2.8 makes a model write the constant 0.1 as 0.10000000000000001, and 1.0 as 1; llguidance 1e-07 as 0.0000001.
#
# Date: 2026-12-01. Run on Python 3.11. xgrammar 0.2.8 (0.2.9 writes 0.1, but still 1), llguidance 1.9.1.
# Behaviour: a number in `enum` or `const` becomes one fixed text of the grammar. xgrammar 0.2.8 writes floats with 17 digits;
#   llguidance writes them without an exponent; both write whole floats as integers. No other spelling is accepted.
# Seen: 0.1, 0.3, 1.0 and 1e-07 were written as 0.10000000000000001, 0.29999999999999999, 1 and 9.9999999999999995e-08 by
#   xgrammar, and as 0.1, 0.3, 1 and 0.0000001 by llguidance. Python's json writes neither of the last two so.
# Why a good guess is wrong: a good engineer expects the constant as it stands in the schema, because the schema is sent as
#   text, and JSON's numbers need no change to be written back. Whoever compares the model's text with the schema's, continues
#   a text that broke off at `0.1`, or finds a choice by its beginning (`0.29` for 0.3), finds that nothing fits.
# Remedy: compare constants by value, never by text, and accept any spelling of a beginning.
# How it is run: the Python part of xgrammar imports torch, which only its tensors need. Here its native library is called
#   through the package's own binding modules, without torch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
pip() { python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile "$@"; }
pip apache-tvm-ffi==0.1.15.post2 llguidance==1.9.1
pip --no-deps xgrammar==0.2.8

"$folder/venv/bin/python" - <<'EOF'
import importlib.util
import json
import sys
import types

spec = importlib.util.find_spec("xgrammar")
package = types.ModuleType("xgrammar")
package.__path__ = list(spec.submodule_search_locations)
sys.modules["xgrammar"] = package

import llguidance  # noqa: E402
import xgrammar.load_binding  # noqa: E402, F401 - loads the library
from xgrammar.tvm_ffi_binding.testing import _ffi_api as testing  # noqa: E402

letters = llguidance.LLTokenizer("byte")


def of_xgrammar(constant):
    """The text of the grammar's only word."""
    schema = json.dumps({"const": constant})
    rules = testing._json_schema_to_ebnf(schema, True, None, None, True, None, "json", False)
    (root,) = (line for line in rules.splitlines() if line.startswith("root ::="))
    return root.removeprefix("root ::=").strip(' ()"')


def of_llguidance(constant):
    """What the grammar forces to be written."""
    grammar = llguidance.LLMatcher.grammar_from_json_schema({"const": constant})
    return letters.decode_str(llguidance.LLMatcher(letters, grammar).compute_ff_tokens())


EXPECTED = {
    "0.1": ("0.10000000000000001", "0.1"),
    "0.3": ("0.29999999999999999", "0.3"),
    "1.0": ("1", "1"),
    "1e-07": ("9.9999999999999995e-08", "0.0000001"),
}
seen = {json.dumps(constant): (of_xgrammar(constant), of_llguidance(constant)) for constant in (0.1, 0.3, 1.0, 1e-07)}
for text, (first, second) in seen.items():
    print(f"schema {text:6} xgrammar {first:24} llguidance {second}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
