# FUZZTIME is for each fuzz target, SOAK for each test that runs as long as it is told.
FUZZTIME ?= 10m
SOAK ?= 30m

.PHONY: test check fuzz soak

test:
	.ci/test

check:
	.ci/run

# FUZZ=FuzzResuming runs only that target; several are separated by blanks.
fuzz:
	.ci/fuzz $(FUZZTIME) $(FUZZ)

soak:
	QTOOL_SOAK=$(SOAK) go test -count=1 -timeout 0 -v -run Soak ./cmd/qtool
