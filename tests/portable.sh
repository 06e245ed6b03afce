#!/usr/bin/env bash
# Checks that a program needs glibc only, says which glibc, and runs it. Usage: portable.sh PROGRAM
set -euo pipefail
program=$1

needed=$(objdump -p "$program" | awk '$1 == "NEEDED" {print $2}')
others=$(grep -vE '^(libc|libm|libpthread|libdl|librt)\.so\.[0-9]+$|^ld-linux' <<<"$needed" || true)
if [ -n "$others" ]; then
  echo "FAILED: $program needs" $others
  exit 1
fi
newest=$(objdump -T "$program" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
"$program" --version </dev/null >/dev/null
echo "portable: needs only" $needed "and glibc ${newest#GLIBC_} or newer; $(stat -c %s "$program") bytes"
# Debian 12 has glibc 2.36: what is built there must not ask for more.
if [ "$(printf '%s\n' "${newest#GLIBC_}" 2.36 | sort -V | tail -n 1)" != 2.36 ]; then
  echo "portable: this glibc is newer than Debian 12's; build on Debian 12 for older machines"
fi
