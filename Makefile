PY := .venv/bin/python
UV := .venv/bin/uv

.PHONY: setup
setup: .venv/.done

.venv/.done: requirements.lock pyproject.toml
	@python3 -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(UV) || (python3 -m venv .venv && .venv/bin/pip install -q uv)
	@echo "installing into .venv (once) ..."
	@$(UV) pip install -q --python $(PY) --no-deps -r requirements.lock
	@$(UV) pip install -q --python $(PY) --no-deps -e .
	@touch $@
