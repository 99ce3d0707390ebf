# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the scripts here share: messages, temporary files that never outlive the script,
# fetching a Debian kernel without installing it, choosing modules out of it, and packing an
# initramfs.  Sourced by bash scripts that have set `program` (the name before each message).

set -euo pipefail
# shellcheck disable=SC2034 # for the script that sources this
caller_lc_all=${LC_ALL:-}
export LC_ALL=C
: "${program:?}"

tools_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top_dir=$(dirname "$tools_dir")
build_dir=$(realpath -m "${FASTVMM_BUILD:-$top_dir/build}")
cache_dir=${FASTVMM_CACHE:-$build_dir/cache}

say() { [ -n "${quiet:-}" ] || printf '%s: %s\n' "$program" "$*" >&2; }
die() {
	printf '%s: error: %s\n' "$program" "$*" >&2
	exit 1
}

# Usage text is the comment block at the top of the script, from its third line to the first line
# that is not a comment.
usage() { sed -n '3,/^[^#]/{/^[^#]/d;/^$/q;s/^# \{0,1\}//p}' "$0"; }

# --- temporary files -----------------------------------------------------------------------------

temporary=()

# new_temporary VARIABLE DIRECTORY: make a directory under DIRECTORY that goes away with the script.
new_temporary() {
	mkdir -p "$2" 2>/dev/null || die "cannot create the directory $2"
	local made
	made=$(mktemp -d "$2/.tmp.XXXXXXXX" 2>/dev/null) || die "cannot create a temporary directory in $2"
	temporary+=("$made")
	printf -v "$1" '%s' "$made"
}

remove_temporary() {
	local directory
	for directory in "${temporary[@]}"; do
		rm -rf -- "$directory"
	done
	temporary=()
}

# on_exit COMMAND: run it whenever and however the script ends; then the temporary files go.
exit_commands=()
on_exit() { exit_commands+=("$1"); }
leave() {
	local status=$? command
	trap - EXIT
	trap '' INT TERM HUP
	for command in "${exit_commands[@]}"; do "$command" || true; done
	remove_temporary
	exit "$status"
}
trap leave EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

need_commands() {
	local command missing=()
	for command in "$@"; do
		command -v "$command" >/dev/null 2>&1 || missing+=("$command")
	done
	[ ${#missing[@]} -eq 0 ] || die "missing: ${missing[*]}; run tools/setup first"
}

# lock_directory DIRECTORY [DESCRIPTOR]: one script at a time works there; the second one waits and then
# finds the work done. unlock_directory gives up the lock on descriptor 9, the default.
lock_directory() {
	mkdir -p "$1" 2>/dev/null || die "cannot create the directory $1"
	[ -w "$1" ] || die "cannot write to the directory $1"
	local fd=${2:-9}
	eval "exec $fd>\"\$1/lock\""
	if ! flock -n "$fd"; then
		say "waiting for another run that works in $1"
		flock "$fd"
	fi
}
unlock_directory() { exec 9>&-; }

# --- Debian packages -----------------------------------------------------------------------------

apt_options=()

apt_knows() { apt-cache "${apt_options[@]}" show --no-all-versions "$1" >/dev/null 2>&1; }

# The system's package lists may be missing (container images ship none), too old (the mirror has
# dropped the version they name) or without Debian's security archive, which has the 6.12 kernels.
# Lists of our own need no root.
apt_use_own_lists() {
	[ ${#apt_options[@]} -eq 0 ] || return 0
	local root=$cache_dir/apt
	mkdir -p "$root/lists/partial" "$root/cache/archives/partial" "$root/sources"
	cp /etc/apt/sources.list.d/* "$root/sources/" 2>/dev/null || true
	# shellcheck disable=SC2016 # apt's own fields
	if ! apt-get indextargets --format '$(RELEASE)' | grep -q -x bookworm-security; then
		printf 'deb [signed-by=%s] http://deb.debian.org/debian-security bookworm-security main\n' \
			/usr/share/keyrings/debian-archive-keyring.gpg >"$root/sources/fastvmm-security.list"
	fi
	apt_options=(-o "Dir::State::lists=$root/lists" -o "Dir::Cache=$root/cache"
		-o "Dir::Etc::sourceparts=$root/sources" -o APT::Sandbox::User= -o Acquire::Languages=none)
	say "fetching package lists (private copy, nothing is installed)"
	apt-get "${apt_options[@]}" -qq -o Acquire::Retries=3 update >"$root/log" 2>&1 || true
}

package_version() {
	{ apt-cache "${apt_options[@]}" show --no-all-versions "$1" 2>/dev/null || true; } |
		awk '$1 == "Version:" && !n++ { print $2 }'
}

# resolve_kernel META SERIES -> kernel_package, kernel_version of the package META stands for.
resolve_kernel() {
	local meta=$1 series=$2
	apt_knows "$meta" || apt_use_own_lists
	kernel_package=$(apt-cache "${apt_options[@]}" depends --important "$meta" 2>/dev/null |
		awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ && !n++ { print $2 }') || true
	[ -n "$kernel_package" ] ||
		die "apt does not know the package $meta: check the network and that apt's sources" \
			"list Debian 12 (bookworm) and bookworm-security"
	case $kernel_package in
	linux-image-"$series"[.+-]*) ;;
	*) die "$meta stands for $kernel_package here, not for Linux $series: is this Debian 12?" ;;
	esac
	kernel_version=$(package_version "$kernel_package")
	[ -n "$kernel_version" ] || die "apt has no version of $kernel_package"
}

# fetch_package PACKAGE VERSION -> package_file in the cache, downloaded where it is not there yet.
fetch_package() {
	local package=$1 version=$2 fetched room
	package_file=$cache_dir/${package}_${version//:/%3a}_amd64.deb
	[ ! -e "$package_file" ] || return 0
	new_temporary room "$cache_dir"
	say "downloading $package $version"
	if ! download_into "$room" "$package" "$version"; then
		apt_use_own_lists
		version=$(package_version "$package")
		download_into "$room" "$package" "${version:-none}" ||
			die "cannot download $package: $(tail -n 1 "$room/log")"
	fi
	fetched=$(find "$room" -name '*.deb' -print -quit)
	dpkg-deb --info "$fetched" >/dev/null 2>&1 || die "$package came down broken; try again"
	package_file=$cache_dir/$(basename "$fetched")
	mv -f "$fetched" "$package_file"
	find "$cache_dir" -maxdepth 1 -name "${package}_*.deb" ! -samefile "$package_file" -delete
}

download_into() {
	(cd "$1" && apt-get "${apt_options[@]}" -q -o APT::Sandbox::User= -o Acquire::Retries=3 \
		download "$2=$3" >log 2>&1) && [ -n "$(find "$1" -name '*.deb' -print -quit)" ]
}

# unpack_kernel DEB DIRECTORY -> kernel_release; DIRECTORY gets boot/vmlinuz-* and lib/modules.
unpack_kernel() {
	local deb=$1 into=$2
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$into" --wildcards \
		'./boot/vmlinuz-*' './boot/config-*' './lib/modules' ||
		die "cannot unpack $deb into $into (disk full?): $(df -h --output=avail "$into" | tail -n 1) free"
	kernel_release=$(basename "$into"/lib/modules/*)
	[ -e "$into/boot/vmlinuz-$kernel_release" ] || die "$deb holds no kernel image"
}

# extract_vmlinux BZIMAGE OUTPUT: the ELF image inside a bzImage (boot protocol 2.08 and later say
# where it is: payload_offset and payload_length, counted from the protected-mode code).
extract_vmlinux() {
	local image=$1 output=$2 sectors offset length magic
	field() { od -An -v -t "u$2" -j "$1" -N "$2" "$image" | tr -d ' '; }
	[ "$(dd if="$image" bs=1 skip=514 count=4 status=none)" = HdrS ] || die "$image is no bzImage"
	sectors=$(field 497 1)
	[ "$sectors" -ne 0 ] || sectors=4
	offset=$(((sectors + 1) * 512 + $(field 584 4)))
	# Four bytes with the unpacked size follow the compressed data.
	length=$(($(field 588 4) - 4))
	magic=$(od -An -v -t x1 -j "$offset" -N 4 "$image" | tr -d ' ')
	case $magic in
	fd377a58) set -- xz -dcq ;;
	28b52ffd) set -- zstd -dcq ;;
	02214c18) set -- lz4 -dcq ;;
	1f8b*) set -- gzip -dcq && length=$((length + 4)) ;;
	*) die "$image is compressed in a way this script does not know (magic $magic)" ;;
	esac
	dd if="$image" bs=1M iflag=skip_bytes,count_bytes skip="$offset" count="$length" status=none |
		"$@" >"$output" ||
		die "cannot unpack $image"
	[ "$(od -An -t x1 -N 4 "$output" | tr -d ' ')" = 7f454c46 ] || die "no ELF image inside $image"
}

# --- modules -------------------------------------------------------------------------------------

# stage_modules SOURCE-ROOT RELEASE STAGE MODULE...: copy the modules named and all they depend on
# (unpacked) into STAGE/lib/modules/RELEASE, in an order in which they can be loaded, which is left
# in the array module_order (paths below kernel/).  Names that this kernel has built in, or does not
# have, are passed over.
stage_modules() {
	local source=$1 release=$2 stage=$3 base name
	shift 3
	base=$source/lib/modules/$release
	declare -gA module_path=() module_seen=()
	module_order=()
	while IFS= read -r name; do
		local key=${name##*/}
		key=${key%%.ko*}
		module_path[${key//-/_}]=$name
	done < <(cd "$base" && find kernel -name '*.ko*')
	for name in "$@"; do add_module "$base" "$stage/lib/modules/$release" "${name//-/_}"; done
	cp "$base"/modules.{builtin,builtin.modinfo,order} "$stage/lib/modules/$release/"
	depmod -b "$stage" "$release" || die "depmod failed"
	rm -f "$stage/lib/modules/$release"/modules.{order,builtin.modinfo,builtin.alias.bin}
}

add_module() {
	local base=$1 into=$2 name=$3 path depends dependency
	[ -z "${module_seen[$name]:-}" ] || return 0
	module_seen[$name]=1
	path=${module_path[$name]:-}
	[ -n "$path" ] || return 0
	depends=$(modinfo -F depends "$base/$path")
	for dependency in ${depends//,/ }; do add_module "$base" "$into" "${dependency//-/_}"; done
	mkdir -p "$into/${path%/*}"
	case $path in
	*.xz) xz -dc "$base/$path" >"$into/${path%.xz}" ;;
	*.zst) zstd -dcq "$base/$path" >"$into/${path%.zst}" ;;
	*) cp "$base/$path" "$into/$path" ;;
	esac
	[ -z "${strip_signatures:-}" ] || strip_signature "$into/${path%.ko*}.ko"
	module_order+=("${path%.ko*}.ko")
}

# Checking signatures is most of the time that loading takes where code is emulated.  A signed module
# ends with the signature, twelve bytes whose last four are its length (big-endian), and a mark.
strip_signature() {
	local mark='~Module signature appended~' length
	[ "$(tail -c 28 "$1" | tr -d '\0\n')" = "$mark" ] || return 0
	length=$((0x$(tail -c 32 "$1" | head -c 4 | od -An -v -t x1 | tr -d ' \n')))
	truncate -s "-$((28 + 12 + length))" "$1"
}

# --- initramfs -----------------------------------------------------------------------------------

# pack_directory DIRECTORY OUTPUT: a newc archive owned by root, the same bytes for the same input.
pack_directory() {
	(cd "$1" && find . -mindepth 1 -printf '%P\n' | sort |
		cpio --quiet -o -H newc -R 0:0 --reproducible) >"$2" || die "cannot write $2 (disk full?)"
}

# add_binary STAGE FILE [LIBRARY-DIRECTORY]: copy a program into STAGE at the same path, with its
# libraries; libraries found in LIBRARY-DIRECTORY are taken from there.
add_binary() {
	local stage=$1 binary=$2 own=${3:-} library
	install -D "$binary" "$stage$binary"
	LD_LIBRARY_PATH=$own ldd "$binary" >/dev/null 2>&1 || return 0
	while IFS= read -r library; do
		if [ -n "$own" ] && [ "${library#"$own"/}" != "$library" ]; then
			install -D "$library" "$stage/usr/lib/x86_64-linux-gnu/${library##*/}"
		else
			install -D "$library" "$stage$library"
		fi
	done < <(LD_LIBRARY_PATH=$own ldd "$binary" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }')
}

# The inputs that decide what is built: this text changes when anything would come out different.
script_digest() { cat "$@" "$tools_dir/common.sh" | sha256sum | cut -c 1-16; }
