#!/usr/bin/env bash
#
# run-demo.sh
#		Builds the crowd's programs and runs the demo.
set -euo pipefail
cd "$(dirname "$0")/../.."

make --silent -C test/crowd PG_CONFIG="${PG_CONFIG:-pg_config}"
test/crowd/demo.sh
