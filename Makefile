# vqueue: virtual waiting rooms in PostgreSQL.  "make help" lists the targets.

EXTENSION = vqueue
MODULE_big = vqueue
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
DATA = $(sort $(wildcard sql/vqueue--*.sql))

PG_CONFIG ?= pg_config
PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))

# Any warning is an error with "make WERROR=1"; PostgreSQL's own headers do not count.
PG_CPPFLAGS = -isystem $(shell $(PG_CONFIG) --includedir-server) \
	-DVQ_VERSION='"$(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(if $(srcdir),$(srcdir)/)vqueue.control)"'
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers $(if $(WERROR),-Werror)

# Regression and isolation tests share expected/; each kind starts a server of its own.
REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=$(srcdir)/test --encoding=UTF8 --temp-instance=./tmp_check_regress \
	--temp-config=$(srcdir)/test/vqueue.conf
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=$(srcdir)/test --outputdir=. --temp-instance=./tmp_check_iso \
	--temp-config=$(srcdir)/test/vqueue.conf
TAP_TESTS = 1

# AES of the ids of sessions.
SHLIB_LINK = -lcrypto
PROVE_TESTS ?= test/t/*.pl

EXTRA_CLEAN = src/*.bc results regression.diffs regression.out tmp_check tmp_check_regress tmp_check_iso

ifneq ($(PGXS),)

# The bitcode for PostgreSQL's JIT needs the clang that the server was built with.
ifeq ($(shell command -v $$(sed -n 's/^CLANG *= *//p' $(dir $(PGXS))../Makefile.global)),)
override with_llvm = no
endif

include $(PGXS)

$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h)

clean: clean-tests
.PHONY: clean-tests indent
clean-tests:
	@for dir in $(dir $(wildcard test/*/Makefile)); do $(MAKE) --no-print-directory -C $$dir clean || exit 1; done

# Needs pg_bsd_indent (Debian: pg-bsd-indent).
indent:
	@test/tools/indent.sh src/*.[ch]

else

.PHONY: all install installcheck clean
all install installcheck clean:
	@echo "PostgreSQL's development files were not found (PG_CONFIG=$(PG_CONFIG))."
	@echo 'On Debian and Ubuntu "make deps" installs what is missing.'
	@exit 1

endif

# What follows works on a machine without PostgreSQL: it is installed first.
# It builds and runs in a temporary copy of this tree and leaves nothing behind
# but the installed packages and extension.

.PHONY: help deps test torture matrix demo bench image-check
help:
	@echo 'make               build the extension'
	@echo 'make install       install it (PG_CONFIG=... chooses the server)'
	@echo 'make installcheck  regression, isolation and TAP tests of the installed extension'
	@echo 'make clean         remove what was built'
	@echo 'make indent        lay out the sources as pgindent does'
	@echo 'make deps          install the packages that building and testing need'
	@echo 'make test          deps, build, install, every kind of test (PARTS="unit regress ..." for some)'
	@echo 'make torture       the same with the long forms of tests that have one, for 20 minutes'
	@echo 'make matrix        the tests on every major version that Debian packages, in chroots (as root; SUITES="trixie ..." for some)'
	@echo 'make demo          the same, then replay an hour of real web traffic into a waiting room'
	@echo 'make bench         the same, with Redis and PgQ, then measure (FULL=1 for the long form)'
	@echo 'make image-check   make and start the image of docker/ in a fresh Debian, without Docker, as root'

deps:
	@test/tools/install-packages.sh test

test:
	@test/tools/install-packages.sh test
	@test/tools/with-build.sh test/tools/run-tests.sh $(PARTS)

torture:
	@test/tools/install-packages.sh test
	@test/tools/with-build.sh test/tools/run-torture.sh

matrix:
	@test/tools/run-matrix.sh $(SUITES)

demo:
	@test/tools/install-packages.sh build
	@test/tools/with-build.sh test/tools/run-demo.sh

bench:
	@test/tools/install-packages.sh bench
	@test/tools/with-build.sh --keep test/bench/results test/bench/run.sh

image-check:
	@test/tools/check-image.sh
