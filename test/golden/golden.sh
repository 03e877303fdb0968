#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Unpacks the images that CRIU wrote and runs the golden test on them: golden.sh TEST-PROGRAM
set -e
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/images" "$dir/decoded"
tar -xzf "$here/criu-4.2/images.tar.gz" -C "$dir/images"
tar -xzf "$here/criu-4.2/decoded.tar.gz" -C "$dir/decoded"
"$1" "$dir/images" "$dir/decoded"
