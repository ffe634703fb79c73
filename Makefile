# make demo, make test: the two commands of the README. Both do all set-up themselves.
.PHONY: setup demo test test-quick conformance test-vm bench lint format clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^## //p' Makefile

setup:
	@./.ci/setup

## make demo      bring up examples/stacks/hello and say what to try next
demo: setup
	@./.ci/demo

## make test      all checks and tests (root, real kernel); what CI runs
test: setup
	@./.ci/test

## make test-quick  linters, unit and property tests only
test-quick: setup
	@.venv/bin/python -m pytest tests/unit tests/conformance tests/property

## make conformance  the loader beside docker compose v2.40's, over every case and generated stacks
conformance: setup
	@./.ci/conformance

## make test-vm   the kernel tests marked vm under a cgroup-v2-only Debian 12 kernel (emulated: slow)
test-vm: setup
	@./.ci/test-vm

## make bench     ratios against crun (and docker/podman where installed), config beside docker compose, in one run
bench: setup
	@.venv/bin/python -m tests.bench

lint: setup
	@.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/lint-imports

format: setup
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

clean:
	rm -rf .venv build dist *.egg-info
