#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The quickstart does the main job: real psql and curl reach a real PostgreSQL and nginx behind NAT
# through four processes, and what no rule allows is refused.
set -euo pipefail
cd "$(dirname "$0")/../.."
. examples/quickstart/network.sh
net_possible || exit 77
exec examples/quickstart/run
