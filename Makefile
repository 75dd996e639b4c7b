# mesos-cvmfs: `make build`, `make demo`, `make test`. Given Node.js >= 20.18.1 with its headers, everything else that is
# needed is set up by these targets themselves, from Debian packages and npm (as root, on Debian or Ubuntu).

.DEFAULT_GOAL := build
.PHONY: build setup isolator-module test test-unit test-integration test-faults lint demo bench deb clean help
.DELETE_ON_ERROR:

export PATH := $(PATH):/usr/sbin:/sbin

PACKAGES := node_modules/.mesos-cvmfs-installed
BUILT    := dist/.built
SOURCES  := $(shell find src provisioner isolator -name '*.ts' 2>/dev/null) tsconfig.json

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 26

build: $(BUILT) ## compile, after installing what that needs

# A stamp each: make looks at time stamps, setup/npm-packages.js at what is really there.
$(PACKAGES): package.json package-lock.json setup/npm-packages.js
	@sh setup/node.sh
	@node setup/npm-packages.js
	@touch $@

$(BUILT): $(PACKAGES) $(SOURCES)
	@sh setup/node.sh
	node_modules/.bin/tsc -p tsconfig.json
	@touch $@

setup: $(PACKAGES) ## install everything that demo, lint and tests use
	@sh setup/debian.sh 'check the contracts and run tests' protoc:protobuf-compiler getfattr:attr
	@sh setup/debian.sh --optional 'run containers' runc:runc
	@sh setup/debian.sh --optional 'try the fuse-native driver' libfuse.so.2:libfuse2
	@sh setup/debian.sh --optional 'compile the isolator module and run it against the service' cmake:cmake grpc_cpp_plugin:protobuf-compiler-grpc libgrpc++.so:libgrpc++-dev
	@sh setup/debian.sh --optional 'try the Debian package' mmdebstrap:mmdebstrap strip:binutils

# Against a stub of Mesos (docs/isolator.md); without the tools its tests are skipped.
isolator-module: setup
	@nice sh test/isolator-module/build.sh dist/isolator-module || [ $$? = 3 ]

test: build setup isolator-module ## all tests, on a bare machine as root
	node test/nothing-left.js node_modules/.bin/jest

test-unit: build ## tests that neither mount nor start anything
	node test/nothing-left.js node_modules/.bin/jest --selectProjects unit

test-integration: build setup isolator-module ## tests with real mounts, processes and servers
	node test/nothing-left.js node_modules/.bin/jest --selectProjects integration

test-faults: build setup ## kill 1,000 processes under readers: SEED=, KILLS=, MINUTES=, OUT=docs/benchmarks/faults (test/fault/main.ts)
	node test/nothing-left.js node -r ./test/support/register-typescript.js test/fault/main.ts

lint: build setup ## eslint, types of the tests, the import rule, the contracts, the lock file
	node_modules/.bin/eslint .
	node_modules/.bin/tsc -p tsconfig.test.json
	node test/lint/imports.js
	sh test/lint/protoc.sh
	node test/lint/lock-file.js

demo: build ## an image of this host's own user land, end to end
	@sh setup/debian.sh --optional 'run containers' runc:runc
	@node examples/demo/demo.js

bench: build setup ## measure, with plots, in docs/benchmarks; ONLY="flat-line scale" for some
	@sh setup/debian.sh 'make the image that is measured' mmdebstrap:mmdebstrap
	test/bench/run.sh

deb: build ## make the Debian package, in dist/debian; WITH_NODE=1 puts this Node.js into it
	@sh setup/debian.sh 'make the package' dpkg-deb:dpkg strip:binutils
	node packaging/debian-package.js $(if $(WITH_NODE),--with-node)

clean: ## remove what was built; installed packages stay
	rm -rf dist coverage
