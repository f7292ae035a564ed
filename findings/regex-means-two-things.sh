#!/usr/bin/env bash
# xgrammar 0.2.9 and llguidance 1.9.1 read the same regular expression and the same schema pattern differently.
#
# Date: 2026-12-01. Run on Python 3.11.
# Behaviour: in xgrammar `.` takes a line feed, `\w` and `\d` are those of ASCII, and a `pattern` of a schema is for
#   the whole string. In llguidance `.` takes no line feed, `\w` and `\d` are those of Unicode, and a `pattern`
#   may match anywhere in the string, as JSON Schema has it.
# Seen: of the six pairs below the two agreed on two. `a.b` took "a", line feed, "b" in xgrammar only; {"pattern": "ab"} took
#   "xaby" in llguidance only; `\w` took "é" in llguidance only.
# Why a good guess is wrong: a good engineer expects one meaning, because the expressions are of the simplest kind that all
#   dialects share, and because the caller's own regex library agrees with one of them and is taken for the standard. An
#   answer that is read line by line gets lines in the middle of a field, or a bound that holds on one server is none on
#   another.
# Remedy: say what is meant by classes, `[^\n]`, `[0-9]`, and anchor patterns: `^ab$` or `^[^\n]*ab[^\n]*$`.
# How it is run: the Python part of xgrammar imports torch, which only its tensors need. Here its native library is called
#   through the package's own binding modules, without torch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv --without-pip "$folder/venv"
pip() { python3 -m pip --python "$folder/venv" install -q --disable-pip-version-check --no-compile "$@"; }
pip apache-tvm-ffi==0.1.15.post2 llguidance==1.9.1
pip --no-deps xgrammar==0.2.9

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
from xgrammar.tvm_ffi_binding import _ffi_api as xgr  # noqa: E402

compiler = xgr.GrammarCompiler(xgr.TokenizerInfo([], 0, None, None, False), 1, False, -1, False)
letters = llguidance.LLTokenizer("byte")


def xgrammar_accepts(rule, text):
    if isinstance(rule, dict):
        grammar = xgr.Grammar.from_json_schema(json.dumps(rule), True, None, None, True, None, False, False)
    else:
        grammar = xgr.Grammar.from_regex(rule, False)
    matcher = xgr.GrammarMatcher(compiler.compile_grammar_ebnf(grammar), None, True, -1, None)
    return matcher.accept_string(text, False) and matcher.is_terminated()


def llguidance_accepts(rule, text):
    make = llguidance.LLMatcher
    grammar = make.grammar_from_json_schema(rule) if isinstance(rule, dict) else make.grammar_from_regex(rule)
    matcher = make(letters, grammar)
    tokens = letters.tokenize_str(text)
    return matcher.validate_tokens(tokens) == len(tokens) and matcher.consume_tokens(tokens) and matcher.is_accepting()


ANYWHERE, WHOLE = {"type": "string", "pattern": "ab"}, {"type": "string", "pattern": "^ab$"}
CASES = [
    ("a.b", "axb"),
    ("a.b", "a\nb"),
    (r"\w", "é"),
    (r"\d", "\u0661"),
    (ANYWHERE, '"xaby"'),
    (WHOLE, '"ab"'),
]
EXPECTED = [(True, True), (True, False), (False, True), (False, True), (False, True), (True, True)]
seen = [(xgrammar_accepts(*case), llguidance_accepts(*case)) for case in CASES]
for (rule, text), (first, second) in zip(CASES, seen, strict=True):
    said = f"{rule if isinstance(rule, str) else json.dumps(rule)} and {ascii(text)}:"
    print(f"{said:52} xgrammar {'accepts' if first else 'refuses'}, llguidance {'accepts' if second else 'refuses'}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
