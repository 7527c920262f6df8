#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# bochs_run.sh IMAGE WORDS [MODULE[=STRING]...]: boot a bare-metal image in Bochs, headless. Serial output goes to
# stdout while it comes; the exit status is the image's own, 3 if Bochs gave up, 124 after a timeout, 2 for bad usage.
# An IMAGE that ends in .iso is a CD that boots by itself.
# Environment: MODEL (corei7_skylake_x), PROCESSORS (1), MEMORY in MiB (256), SECONDS_LIMIT (120, 0: none), IPS
# instructions an emulated second (50000000), LOG a file for the second serial port, DEBUG one for the debug port,
# INTERACTIVE=1 makes stdin the serial input (Ctrl-A X ends with 130), COMMANDS for Bochs's debugger and ANSWERS a file
# for what it says, KEEP=1 keeps Bochs's own files and says where.
set -euo pipefail

(($# >= 2)) || {
  sed -n '3,9s/^# //p' "$0" >&2
  exit 2
}
command -v bochs-bin >/dev/null || {
  echo "bochs_run: Bochs is not installed (Debian: bochs bochs-term bochsbios vgabios)" >&2
  exit 2
}
scripts=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
bochs=''
# shellcheck disable=SC2317
finish() {
  trap '' INT TERM HUP
  [[ -z $bochs ]] || { kill "$bochs" && wait "$bochs"; } 2>/dev/null || true
  if [[ -n ${KEEP-} ]]; then echo "bochs_run: files in $scratch" >&2; else rm -rf "$scratch"; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

if [[ $1 == *.iso ]]; then
  ln -s "$(realpath -- "$1")" "$scratch/cd"
  more=('ata0-master: type=cdrom, path=cd, status=inserted' 'boot: cdrom')
else
  clang-19 --target=i386-none-elf -c "$scripts/bochs_boot.S" -o "$scratch/boot.o"
  ld.lld-19 -Ttext=0x7c00 --oformat binary -e start "$scratch/boot.o" -o "$scratch/boot"
  cylinders=$("$scripts/bochs_disk.py" "$scratch/disk" "$scratch/boot" "$@") || exit 2
  more=("ata0-master: type=disk, path=disk, mode=volatile, cylinders=$cylinders, heads=16, spt=63")
fi
[[ -z ${LOG-} ]] || ln -s "$(realpath -- "$LOG")" "$scratch/log_port"
[[ -z ${ANSWERS-} ]] || ln -s "$(realpath -- "$ANSWERS")" "$scratch/screen"
HV_MODEL=${MODEL:-corei7_skylake_x} HV_MEMORY=${MEMORY:-256} HV_IPS=${IPS:-50000000} HV_PROCESSORS=${PROCESSORS:-1}
HV_ERRORS=ignore
[[ -z ${KEEP-} ]] || HV_ERRORS=report
export HV_MODEL HV_MEMORY HV_IPS HV_PROCESSORS HV_ERRORS

# Nobody outlives who started it. Debian's Bochs starts in its debugger.
cd "$scratch"
printf '%s\n' "${COMMANDS:-c}" quit >debugger
command=(timeout -k 5 "${SECONDS_LIMIT:-120}"
  setpriv --pdeathsig KILL bochs-bin -q -f "$scripts/bochsrc" -rc debugger "${more[@]}")
run_bochs() { # sets rc
  shown=''
  : >screen
  if [[ -n ${INTERACTIVE-} ]]; then
    setpriv --pdeathsig TERM "$scripts/bochs_console.py" serial setpriv --pdeathsig TERM "${command[@]}" <&0 2>screen &
  else
    rm -f console
    mkfifo console
    tee -p serial <console &
    shown=$!
    setpriv --pdeathsig TERM "${command[@]}" </dev/null 3>console >screen 2>&1 &
  fi
  bochs=$!
  rc=0
  wait $bochs || rc=$?
  bochs=''
  [[ -z $shown ]] || wait $shown || true
}
# Who types lives by the other clock.
[[ -z ${INTERACTIVE-} ]] || command+=('clock: sync=slowdown, time0=1700000000')
run_bochs
# Bochs's screen is a port of its own. Two that look for one at the same moment can take the same, and one of them ends.
for _ in {1..20}; do
  grep -q 'RFB could not bind any port' screen || break
  sleep 0.3
  run_bochs
done
[[ -z ${DEBUG-} ]] || sed -n '/^{/,/^\]}/p' screen >"$DEBUG"

((rc != 124 && rc != 137)) || exit 124
[[ -z ${INTERACTIVE-} ]] || ((rc != 130)) || exit 130
# The image's last line, and only if it was the image that ended Bochs.
if grep -q 'Shutdown port: shutdown requested' screen; then
  status=$(sed -n '$s/^hv: left with status \([0-9]*\)\r*$/\1/p' serial)
  [[ -z $status ]] || exit "$status"
fi
why=$(sed -n '/exiting with the following message/{n;p}' screen)
echo "bochs_run: Bochs ended with $rc and the image had not said how it ended${why:+: $why}" >&2
exit 3
