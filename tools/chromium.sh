#!/bin/sh
# Print the path of a Chromium for the browser tests: the machine's own, or Debian's, unpacked below the cache directory.
# Needs no root and changes nothing of the system. SPOTMIX_CHROMIUM=/path names another one.
set -eu

say() { printf '%s\n' "$*" >&2; }
die() {
    say "error: $1"
    shift
    for line in "$@"; do say "  $line"; done
    exit 1
}
works() { [ -x "$1" ] && "$1" --version >/dev/null 2>&1; }

for path in "${SPOTMIX_CHROMIUM:-}" "$(command -v chromium 2>/dev/null || true)" "$(command -v google-chrome 2>/dev/null || true)"; do
    if [ -n "$path" ] && works "$path"; then
        printf '%s\n' "$path"
        exit
    fi
done
[ -z "${SPOTMIX_CHROMIUM:-}" ] || die "SPOTMIX_CHROMIUM=$SPOTMIX_CHROMIUM does not run" "Name a Chromium or Chrome, or leave it unset."
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || die "no Chromium found, and this is no Debian to take one from" \
    "Install Chromium or Chrome, or name one: SPOTMIX_CHROMIUM=/path"

. /etc/os-release
cache=${XDG_CACHE_HOME:-$HOME/.cache}/spotmix/chromium-${VERSION_CODENAME:-debian}
chromium=$cache/chromium
mkdir -p "$cache"
exec 9>"$cache/lock"
if command -v flock >/dev/null; then flock 9; fi
if works "$chromium"; then
    printf '%s\n' "$chromium"
    exit
fi

say "Chromium: downloading Debian's (some 130 MB, once) ..."
work=$(mktemp -d "$cache/new.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/root"
apt() {
    apt-get -qq -o Dir::State::lists="$work/lists" -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$work" \
        -o Dir::Cache::archives="$work/archives" -o Debug::NoLocking=true -o APT::Sandbox::User= -o Acquire::Languages=none \
        -o Acquire::Retries=3 "$@" >"$work/apt.log" 2>&1 || die "apt-get $* failed: $(tail -n 3 "$work/apt.log")" \
        "Install Chromium yourself (apt install chromium), or name one: SPOTMIX_CHROMIUM=/path"
}
apt update
apt --no-install-recommends --yes --download-only install chromium fonts-liberation
say "Chromium: unpacking ..."
for package in "$work"/archives/*.deb; do dpkg-deb -x "$package" "$work/root"; done
rm -rf "$cache/root"
mv "$work/root" "$cache/root"

# The fonts are where they were unpacked, and so is what the system lacks of libraries.
{
    printf '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>\n'
    printf '<dir>%s</dir><dir>/usr/share/fonts</dir><cachedir>%s</cachedir>\n' "$cache/root/usr/share/fonts" "$cache/fonts"
    for alias in "system-ui/Sans" "ui-sans-serif/Sans" "sans-serif/Sans" "serif/Serif" "monospace/Mono"; do
        printf '<alias><family>%s</family><prefer><family>Liberation %s</family></prefer></alias>\n' "${alias%/*}" "${alias#*/}"
    done
    printf '</fontconfig>\n'
} >"$cache/fonts.conf"
libraries=$(find "$cache/root/usr/lib" "$cache/root/lib" -name 'lib*.so*' -exec dirname {} + 2>/dev/null | sort -u | grep -v '/lib/chromium' | tr '\n' ':')
cat >"$chromium.new" <<EOF
#!/bin/sh
export LD_LIBRARY_PATH="$libraries\${LD_LIBRARY_PATH:-}" FONTCONFIG_FILE="$cache/fonts.conf"
exec "$cache/root/usr/lib/chromium/chromium" "\$@"
EOF
chmod +x "$chromium.new"
mv "$chromium.new" "$chromium"
works "$chromium" || die "Debian's Chromium does not run here: $("$chromium" --version 2>&1 | tail -n 3)" \
    "Install Chromium yourself, or name one: SPOTMIX_CHROMIUM=/path"
printf '%s\n' "$chromium"
