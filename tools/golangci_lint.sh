#!/bin/sh
# Lint the lab's Go programs with the golangci-lint that tools/golangci/go.sum pins. It is built once, in a minute or two, and
# kept in the cache under the hash of go.sum. Usage: tools/golangci_lint.sh GO DIRECTORY...
set -eu
go=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
hash=$(sha256sum "$here/golangci/go.sum" | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/spotmix/tools
lint=$cache/golangci-lint-$hash-$("$go" env GOVERSION)
export CGO_ENABLED=0 GOFLAGS=-trimpath
if [ ! -x "$lint" ]; then
    echo "building golangci-lint (once)"
    mkdir -p "$cache"
    new=$(mktemp -d "$cache/.new.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    (cd "$here/golangci" && "$go" build -ldflags="-s -w" -o "$new/golangci-lint" github.com/golangci/golangci-lint/v2/cmd/golangci-lint)
    mv "$new/golangci-lint" "$lint"
fi
# It runs the first `go` on PATH.
PATH=$(dirname "$go"):$PATH
export PATH
for dir in "$@"; do
    echo "golangci-lint run in $dir"
    (cd "$dir" && "$lint" run ./...)
done
