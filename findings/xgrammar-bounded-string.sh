#!/usr/bin/env bash
# xgrammar 0.2.9: a JSON string with a maxLength can hold no quote, no line break and no other escape.
#
# Date: 2026-12-01. Run on Python 3.11, beside llguidance 1.9.1.
# Behaviour: the grammar that xgrammar makes of {"type": "string"} has JSON's escapes. Of {"type": "string", "maxLength": 20}
#   it has none: a model that is held to it cannot write \" or \n. With a `pattern` beside it the maxLength is dropped, with
#   a warning on standard error. llguidance keeps both.
# Seen: "say \"hi\"" was accepted without a maxLength and refused with one; so was "a\nb". {"pattern": "^a+$", "maxLength": 2}
#   accepted "aaaa". llguidance accepted the escapes and refused "aaaa".
# Why a good guess is wrong: a good engineer expects a length to bound the length, because that is all the word says in JSON
#   Schema, and because the same string without it may hold any character. The model is forced to another text instead: it
#   ends the string at the quotation, or writes something else. The result is valid JSON and fits the schema.
# Remedy: bound the tokens of the call or check the length afterwards, where a text may hold quotes.
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


def xgrammar_accepts(schema, text):
    grammar = xgr.Grammar.from_json_schema(json.dumps(schema), True, None, None, True, None, False, False)
    matcher = xgr.GrammarMatcher(compiler.compile_grammar_ebnf(grammar), None, True, -1, None)
    return matcher.accept_string(text, False) and matcher.is_terminated()


def llguidance_accepts(schema, text):
    matcher = llguidance.LLMatcher(letters, llguidance.LLMatcher.grammar_from_json_schema(schema))
    tokens = letters.tokenize_str(text)
    return matcher.validate_tokens(tokens) == len(tokens) and matcher.consume_tokens(tokens) and matcher.is_accepting()


FREE, BOUND = {"type": "string"}, {"type": "string", "maxLength": 20}
CASES = {
    "quote, free": (FREE, json.dumps('say "hi"')),
    "quote, maxLength 20": (BOUND, json.dumps('say "hi"')),
    "line break, free": (FREE, json.dumps("a\nb")),
    "line break, maxLength 20": (BOUND, json.dumps("a\nb")),
    "plain, maxLength 20": (BOUND, json.dumps("say hi")),
    "aaaa, ^a+$ and maxLength 2": ({"type": "string", "pattern": "^a+$", "maxLength": 2}, json.dumps("aaaa")),
}
EXPECTED = {
    "quote, free": (True, True),
    "quote, maxLength 20": (False, True),
    "line break, free": (True, True),
    "line break, maxLength 20": (False, True),
    "plain, maxLength 20": (True, True),
    "aaaa, ^a+$ and maxLength 2": (True, False),
}
seen = {name: (xgrammar_accepts(*case), llguidance_accepts(*case)) for name, case in CASES.items()}
for name, (first, second) in seen.items():
    print(f"{name:27} xgrammar {'accepts' if first else 'refuses'}, llguidance {'accepts' if second else 'refuses'}")
sys.exit(0 if seen == EXPECTED else f"changed: expected {EXPECTED}")
EOF
