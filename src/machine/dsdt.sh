#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles dsdt.asl into a C array: dsdt.sh IASL LAYOUT_H ASL OUTPUT_PREFIX CC...
# layout.h goes in front through the C preprocessor; ASL knows no unsigned suffix, so it is cut off.
set -eu
iasl=$1 layout=$2 asl=$3 prefix=$4
shift 4
"$@" -E -P -undef -x c -include "$layout" "$asl" |
	sed -E 's/\b(0x[0-9a-fA-F]+|[0-9]+)[uU]\b/\1/g' >"$prefix.asl"
if ! "$iasl" -we -p "$prefix" -tc "$prefix.asl" >"$prefix.log" 2>&1; then
	cat "$prefix.log" >&2
	exit 1
fi
