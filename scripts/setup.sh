#!/usr/bin/env bash
# Makes a machine and this checkout ready: installs the Debian packages that are missing, the npm packages of the
# lock file, and builds. Safe to run again at any time; a matter of seconds when nothing is to do. Never asks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '==> %s\n' "$*"; }
die() {
	printf 'fimbria setup: %s\n' "$*" >&2
	exit 1
}

[ "$(uname -s)" = Linux ] || die "this system is not Linux: eBPF needs Linux 5.15 or newer"
[ "$(id -u)" = 0 ] || die "not root: installing packages and loading eBPF programs need root; run it with sudo"
command -v node >/dev/null || die "node is not installed: install Node 20.19 or newer, and npm"
command -v npm >/dev/null || die "npm is not installed: install the npm that belongs to your Node"
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
	die "Node $(node --version) is too old: install Node 20.19 or newer"

# package | what it is for
packages='clang|compiles the eBPF programs
llvm|strips the eBPF objects (llvm-strip)
libbpf-dev|the library the addon loads eBPF programs with
libelf-dev|libbpf reads objects with it
zlib1g-dev|libbpf reads objects with it
pkg-config|finds libbpf for the build
cmake|builds the addon
make|builds the addon
g++|compiles the addon
gcc|compiles the CNI plugin
libc6-dev|headers and static C library for the CNI plugin
clang-format|checks the style of the C sources
iproute2|shows devices and routes in the lab
iputils-ping|sends the demo'\''s pings
tcpdump|shows packets in the lab
iperf3|measures throughput in the lab
iptables|writes the rules of kube-proxy that the bench compares services with
nftables|writes those of its other mode
strace|kills an agent at a chosen system call in tests
curl|sends the demo'\''s requests
util-linux|enters namespaces (nsenter, unshare)
procps|shows processes (ps)'

# uv.h is beside Node in official builds; distributions keep it in a package of its own.
node_prefix="$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")"
if [ ! -e "$node_prefix/include/node/uv.h" ] && [ ! -e /usr/include/node/uv.h ]; then
	packages+=$'\nlibuv1-dev|uv.h, which this Node does not bring along'
fi

# Debian has bpftool as a package; on Ubuntu the package of that name is virtual and linux-tools-common has the command.
if ! command -v bpftool >/dev/null && [ ! -x /usr/sbin/bpftool ]; then
	bpftool=bpftool
	if [ -r /etc/os-release ] && grep -qx 'ID=ubuntu' /etc/os-release; then bpftool=linux-tools-common; fi
	packages+=$'\n'"$bpftool|bpftool, to look at programs and maps"
fi

missing=()
while IFS='|' read -r package why; do
	status="$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)"
	[ "$status" = 'install ok installed' ] && continue
	[ ${#missing[@]} -gt 0 ] || say 'Debian packages that are missing:'
	printf '      %-14s %s\n' "$package" "$why"
	missing+=("$package")
done <<<"$packages"

apt() {
	DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get -q -y \
		-o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
		-o Dpkg::Use-Pty=0 "$@" </dev/null 9>&-
}

# Two setups in one checkout must not unpack the same node_modules; the kernel drops the lock with this process.
mkdir -p build
exec 9>build/.setup-lock
flock 9

if [ ${#missing[@]} -gt 0 ]; then
	command -v apt-get >/dev/null || die "apt-get is not installed: install these packages by hand, then run this again"
	if ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then
		say 'package lists are missing: apt-get update'
		apt update
	fi
	say "installing ${#missing[@]} packages (apt-get; the compiler alone is some 100 MB, so this can take minutes)"
	if ! apt install --no-install-recommends "${missing[@]}"; then
		say 'package lists may be old: apt-get update, then once more'
		apt update
		apt install --no-install-recommends "${missing[@]}" || die "apt-get could not install: ${missing[*]}; see its message above"
	fi
fi

pkg-config --atleast-version=1.1 libbpf ||
	die "libbpf $(pkg-config --modversion libbpf 2>/dev/null || echo 'is not found') is too old: 1.1 or newer is needed (Debian 12, Ubuntu 24.04)"

if ! node scripts/lib/packages-current.mjs; then
	say 'npm packages of package-lock.json: npm ci'
	npm ci --no-audit --no-fund --loglevel=error 9>&-
fi

# Only tests need them: where there is no mirror, the rest works, and those tests say what is missing.
node scripts/fetch-kubectl.mjs || true

exec node scripts/build.mjs
