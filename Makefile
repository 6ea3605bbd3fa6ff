# make book    everything a reader needs: environment, chapters, checks, site
# make test    everything a contributor needs: all tests, and each chapter at its smallest size
# Both write only under _build/ and .venv/.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# smoke, laptop or gpu
PROFILE ?= smoke
# chapters to run, all if empty: make book CHAPTER=unlearnable_examples
CHAPTER ?=

.PHONY: book test setup clean

book: setup
	@bash ci/book.sh $(PROFILE) $(CHAPTER)

test: setup
	@bash ci/test.sh

setup:
	@bash ci/setup.sh

clean:
	rm -rf _build .venv
